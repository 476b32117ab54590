"""Every kind of binding that Cloudflare has: Skerry gives it, or says in one sentence that it does not."""

from typing import Any

import pytest

from api.bindings.kinds import SUPPORTED_KINDS, check_bindings
from api.errors import NotSupported, Problem, ScriptRejected

# What wrangler 3.114, 4.86 and 4.164 can send in an upload's metadata (cloudflare-api.md, section 3).
OTHERS: dict[str, dict[str, Any]] = {
    "agent_memory": {"namespace": "n"},
    "ai": {},
    "ai_search": {"instance_name": "n"},
    "ai_search_namespace": {"namespace": "n"},
    "artifacts": {"namespace": "n"},
    "analytics": {},
    "browser": {},
    "dispatch_namespace": {"namespace": "n"},
    "flagship": {"app_id": "1"},
    "hyperdrive": {"id": "1"},
    "images": {},
    "k2": {"stream": "s"},
    "logfwdr": {"destination": "d"},
    "media": {},
    "mtls_certificate": {"certificate_id": "1"},
    "pipelines": {"pipeline": "p"},
    "secrets_store_secret": {"store_id": "1", "secret_name": "s"},
    "send_email": {},
    "stream": {},
    "unsafe_hello_world": {},
    "vectorize": {"index_name": "i"},
    "vpc_network": {"network_id": "1"},
    "vpc_service": {"service_id": "1"},
    "websearch": {},
    "worker_loader": {},
    # Nothing that anybody has: `unsafe.bindings` passes on whatever is written there.
    "of_the_future": {"anything": [1]},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_not_there_is_refused_by_name(kind: str) -> None:
    assert kind not in SUPPORTED_KINDS
    binding = {"name": "THING", "type": kind, **OTHERS[kind]}
    with pytest.raises(NotSupported) as refused:
        check_bindings([{"name": "OK", "type": "plain_text", "text": "x"}, binding])
    said = refused.value.message
    assert (
        f"Binding THING of type {kind} is not supported by Skerry yet. Nothing was changed." in said
    )
    assert refused.value.code == 10400


@pytest.mark.parametrize(
    "binding",
    [
        {"type": "ratelimit", "namespace_id": "1001", "simple": {"limit": 100, "period": 60}},
        {"type": "analytics_engine", "dataset": "visits"},
        {"type": "version_metadata"},
        {"type": "json", "json": [1]},
    ],
)
def test_what_is_there_is_kept_as_it_was_sent(binding: dict[str, Any]) -> None:
    sent = {"name": "THING", **binding}
    assert check_bindings([{**sent, "something": "else"}]) == [sent]


def test_a_dataset_is_called_as_its_binding_where_nothing_is_said() -> None:
    (found,) = check_bindings([{"name": "VISITS", "type": "analytics_engine"}])
    assert found["dataset"] == "VISITS"


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ({"type": "ratelimit", "simple": {"limit": 1, "period": 60}}, "namespace_id"),
        (
            {"type": "ratelimit", "namespace_id": "0", "simple": {"limit": 1, "period": 60}},
            "namespace_id",
        ),
        ({"type": "ratelimit", "namespace_id": "1"}, "simple"),
        ({"type": "ratelimit", "namespace_id": "1", "simple": {"limit": 0, "period": 60}}, "limit"),
        (
            {"type": "ratelimit", "namespace_id": "1", "simple": {"limit": True, "period": 60}},
            "limit",
        ),
        (
            {"type": "ratelimit", "namespace_id": "1", "simple": {"limit": 1, "period": 30}},
            "10 or 60",
        ),
        ({"type": "analytics_engine", "dataset": "a-b"}, "dataset"),
        ({"type": "analytics_engine", "dataset": 1}, "dataset"),
        ({"type": "kv_namespace"}, "namespace_id"),
    ],
)
def test_what_is_malformed(binding: dict[str, Any], said: str) -> None:
    with pytest.raises(ScriptRejected) as refused:
        check_bindings([{"name": "THING", **binding}])
    problem: Problem = refused.value
    assert "THING" in problem.message
    assert said in problem.message
