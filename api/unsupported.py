"""Cloudflare's products that wrangler asks for and Skerry does not have yet, by path."""

import re

_ACCOUNT = r"/client/v4/accounts/[^/]+"
_PRODUCTS = [
    (rf"{_ACCOUNT}/r2", "This part of R2 is"),
    (rf"{_ACCOUNT}/event_notifications/", "R2 event notifications are"),
    (rf"{_ACCOUNT}/queues", "This part of Queues is"),
    (rf"{_ACCOUNT}/hyperdrive/", "Hyperdrive is"),
    (rf"{_ACCOUNT}/workflows", "This part of Workflows is"),
    (rf"{_ACCOUNT}/workers/dispatch/", "Workers for Platforms is"),
    (rf"{_ACCOUNT}/workers/durable_objects/", "Durable Objects are"),
    (rf"{_ACCOUNT}/workers/scripts/[^/]+/domains", "This part of custom domains is"),
    (rf"{_ACCOUNT}/workers/domains", "This part of custom domains is"),
    (rf"{_ACCOUNT}/workers/(scripts/[^/]+|subdomain)/edge-preview", "Remote development is"),
    (rf"{_ACCOUNT}/workers/scripts/[^/]+/edge-preview", "Remote development is"),
    (rf"{_ACCOUNT}/pages/", "Pages is"),
    (rf"{_ACCOUNT}/vectorize/", "Vectorize is"),
    (rf"{_ACCOUNT}/(ai|ai-search|agent-memory)/", "Workers AI is"),
    (rf"{_ACCOUNT}/secrets_store/", "The secrets store is"),
    (rf"{_ACCOUNT}/pipelines", "Pipelines are"),
    (rf"{_ACCOUNT}/mtls_certificates", "mTLS certificates are"),
    (rf"{_ACCOUNT}/containers/", "Containers are"),
    (rf"{_ACCOUNT}/browser-rendering/", "Browser rendering is"),
    (rf"{_ACCOUNT}/", "This part of Cloudflare's API is"),
    (r"/client/v4/zones", "This part of zones is"),
    (r"/client/v4/graphql", "Analytics are"),
    (r"/client/v4/", "This part of Cloudflare's API is"),
]
_COMPILED = [(re.compile(pattern), words) for pattern, words in _PRODUCTS]


def product_of(path: str) -> str | None:
    """What a path of Cloudflare's API stands for, as the beginning of a sentence."""
    for pattern, words in _COMPILED:
        if pattern.match(path):
            return words
    return None
