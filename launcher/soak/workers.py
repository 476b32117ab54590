"""The Workers of a soak: one of each template, made by the dashboard's own form, and deployed again and again."""

import json
import re
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx2

from dashboard import asked
from gallery import templates
from gallery.templates import Template
from launcher import started
from launcher.errors import LauncherError
from launcher.programs import Instance

SETTLE_SECONDS = 60.0
PASSWORD = "a password of the soak"  # noqa: S105 - of an instance that is thrown away
_SETUP = re.compile(r"/setup\?token=(\S+)")


@dataclass(frozen=True)
class Deployed:
    """A Worker, and the values its form was sent with, by the names of the bindings."""

    template: Template
    host: str
    values: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"soak-{self.template.name}"


class Workers:
    """What the soak deploys."""

    def __init__(self, instance: Instance) -> None:
        self.deployed: list[Deployed] = []
        self.left_out: dict[str, str] = {}
        """Templates that need more than a form, with what the form said."""
        self.deploys: Counter[str] = Counter()
        self._turn = 0
        self._instance = instance
        self._api = httpx2.Client(
            base_url=f"{started.api_url(instance)}/accounts/{instance.config.account_id}/",
            headers={"Authorization": f"Bearer {started.api_token(instance)}"},
            trust_env=False,
            timeout=60,
        )

    def make(self) -> None:
        """One of each template of the gallery."""
        subdomain = started.call(self._instance, "/workers/subdomain")["subdomain"]
        with closing(self._browser()) as browser:
            for template in templates.load_all():
                form = asked.offered(template)
                name = f"soak-{template.name}"
                answer = browser.post(f"/workers/new/{template.name}", data={"name": name, **form})
                if answer.status_code != 303:
                    self.left_out[template.name] = f"its form answered {answer.status_code}"
                    continue
                values = {one.name: form[asked.field_name(one)] for one in template.asked}
                host = f"{name}.{subdomain}.localhost"
                self.deployed.append(Deployed(template, host, values))

    def _browser(self) -> httpx2.Client:
        """Of the administrator, who is made with the token that `up` printed."""
        logs = "".join(path.read_text() for path in self._instance.data.logs.glob("*.log"))
        found = _SETUP.search(logs)
        if found is None:
            raise LauncherError("The instance printed no set-up token.")
        browser = httpx2.Client(
            base_url=started.api_url(self._instance).removesuffix("/client/v4"),
            headers={"sec-fetch-site": "same-origin"},
            trust_env=False,
            timeout=60,
        )
        form = {"token": found[1], "email": "soak@example.org", "password": PASSWORD}
        if browser.post("/setup", data=form).status_code != 303:
            raise LauncherError("The administrator of the soak was not made.")
        return browser

    def redeploy(self) -> None:
        """The next Worker in turn, with the same code and what it had; how that went is counted."""
        plain = [found for found in self.deployed if found.template.assets is None]
        one = plain[self._turn % len(plain)]
        self._turn += 1
        bindings = [{"type": "inherit", "name": binding.name} for binding in one.template.bindings]
        metadata = {
            "main_module": one.template.main_module,
            "compatibility_date": one.template.compatibility_date,
            "compatibility_flags": list(one.template.compatibility_flags),
            "bindings": bindings,
            "annotations": {"workers/message": f"soak {time.time():.0f}"},
        }
        files: dict[str, Any] = {
            "metadata": (None, json.dumps(metadata)),
            one.template.main_module: (
                one.template.main_module,
                one.template.bundle(),
                "application/javascript+module",
            ),
        }
        try:
            answer = self._api.put(f"workers/scripts/{one.name}", files=files)
        except httpx2.HTTPError:
            self.deploys["without an answer"] += 1
            return
        word = {200: "accepted", 503: "refused while a part was away"}.get(answer.status_code)
        self.deploys[
            word or f"answered {answer.status_code} ({one.name}: {answer.text[:300]})"
        ] += 1

    def close(self) -> None:
        self._api.close()
