"""Every page that exists is photographed and given to axe by a test, in both themes and on a phone."""

import importlib
import pkgutil
import re
from pathlib import Path

from fastapi.routing import APIRoute

from dashboard import pages

# Photographs by the page's path; a page without one is a finding.
LOOKED_AT = {
    "/_components": ["components"],
    "/alerts": ["alerts-none", "alerts-refused", "alerts-created", "alerts"],
    "/analytics": ["analytics", "analytics-none", "analytics-refused"],
    "/connect": ["connect"],
    "/d1": ["d1-none"],
    "/d1/{database_id}": ["d1-empty", "d1-tables"],
    "/d1/{database_id}/console": ["d1-console", "d1-console-refused"],
    "/d1/{database_id}/delete": ["d1-delete"],
    "/d1/{database_id}/table": ["d1-table"],
    "/find": ["find", "find-none"],
    "/health": ["health"],
    "/kv": ["kv-none"],
    "/kv/{namespace_id}": ["kv-empty", "kv-keys"],
    "/kv/{namespace_id}/key": ["kv-key", "kv-key-refused"],
    "/kv/{namespace_id}/settings": ["kv-settings"],
    "/logs": ["stored-logs"],
    "/login": ["login", "login-refused", "login-kept", "setup-pending"],
    "/nodes": ["nodes", "nodes-weak"],
    "/nodes/sandbox": ["nodes-sandbox"],
    "/nodes/{node_id}": ["node", "node-weak"],
    "/nodes/{node_id}/metrics": ["node-metrics"],
    "/objects": ["objects-none", "objects-classes"],
    "/objects/{namespace_id}": ["objects-show"],
    "/queues": ["queues-none", "queues-list"],
    "/queues/{name}": ["queues-empty", "queues-full", "queues-refused"],
    "/queues/{name}/delete": ["queues-delete"],
    "/queues/{name}/purge": ["queues-purge"],
    "/r2": ["r2-none"],
    "/r2/{bucket}": ["r2-empty", "r2-bucket"],
    "/r2/{bucket}/delete": ["r2-not-empty"],
    "/r2/{bucket}/object/delete": ["r2-object-delete"],
    "/rays": ["ray-none"],
    "/rays/{ray}": ["ray"],
    "/setup": ["setup", "setup-refused", "setup-used", "setup-wrong"],
    "/targets": ["targets", "targets-refused"],
    "/targets/{target_id}": ["target"],
    "/tokens": ["tokens", "tokens-refused", "token-created"],
    "/tokens/{token_id}/revoke": ["token-revoke"],
    "/usage": ["usage"],
    "/workers": ["workers", "workers-empty", "workers-none"],
    "/workers/new": ["create", "create-narrowed"],
    "/workers/new/{template}": ["create-hello-world", "create-refused", "create-exists"],
    "/workflows": ["workflows-none", "workflows-list"],
    "/workflows/{name}": ["workflows-empty", "workflows-instances", "workflows-refused"],
    "/workflows/{name}/delete": ["workflows-delete"],
    "/workflows/{name}/instances/{instance_id}": ["workflows-instance", "workflows-terminated"],
    "/workers/{name}": ["overview", "overview-off", "overview-split", "overview-domain", "created"],
    "/workers/{name}/delete": ["delete-refused"],
    "/workers/{name}/deployments": ["deployments", "deployments-split"],
    "/workers/{name}/deployments/new": ["deploy-share", "deploy-share-refused"],
    "/workers/{name}/edit": ["editor", "editor-preview", "editor-changes", "editor-logged-out"],
    "/workers/{name}/logs": ["logs"],
    "/workers/{name}/logs/on/{target_id}": ["function-logs"],
    "/workers/{name}/metrics": ["metrics"],
    "/workers/{name}/settings": [
        "settings",
        "settings-variables",
        "settings-dialog",
        "settings-domains",
    ],
    "/workers/{name}/triggers": ["triggers-none", "triggers"],
    "/workers/{name}/targets": ["worker-targets"],
    "/workers/{name}/variables/edit": ["variable-edit"],
    "/workers/{name}/variables/new": ["variable-new", "variable-refused"],
    "/workers/{name}/versions": ["versions", "versions-split"],
    "/workers/{name}/versions/{version_id}": ["version", "version-split"],
    "/zones": ["zones-none", "zones-refused", "zones-list"],
    "/zones/{zone}": [
        "zone-empty",
        "zone-full",
        "zone-refused",
        "zone-certificates",
        "zone-certificates-refused",
        "zone-pending",
    ],
    "/zones/{zone}/certificates/{certificate_id}": ["zone-certificate"],
    "/zones/{zone}/delete": ["zone-delete"],
    "/zones/{zone}/routes/{route_id}": ["zone-route"],
}
# Answers that are no page: a redirect, a download, a part of a page, or nothing at all.
NO_PAGES = {
    "/logs/export",
    "/r2/{bucket}/object",
    "/session",
    "/usage/export/{kind}",
    "/workers/{name}/deployments/{deployment_id}/progress",
    "/workers/{name}/logs/stream",
    "/workers/{name}/triggers/runs",
}
# Pages that any path may answer with.
ANYWHERE = ["problem-404", "database-away", "database-away-kept", "form-kept", "palette"]


def _paths() -> set[str]:
    modules = [
        importlib.import_module(f"{pages.__name__}.{found.name}")
        for found in pkgutil.iter_modules(pages.__path__)
    ]
    return {
        route.path
        for module in modules
        for route in module.router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    }


def _photographed() -> set[str]:
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    source += (Path(__file__).parent / "conftest.py").read_text()
    named = set(re.findall(r'\.look\(\s*\w+, "([\w-]+)"', source))
    return named | {"create-hello-world", "problem-404"}  # named by parameters


def test_every_page_is_looked_at() -> None:
    assert len(_paths()) > 20
    assert _paths() - NO_PAGES - LOOKED_AT.keys() == set()
    assert LOOKED_AT.keys() - _paths() == set()


def test_every_photograph_is_taken() -> None:
    listed = {name for names in LOOKED_AT.values() for name in names} | set(ANYWHERE)
    assert listed - _photographed() == set()
