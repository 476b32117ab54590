"""Deploying to the measured instance through its REST API, as wrangler does."""

import json
import time
import urllib.request

from launcher import started
from launcher.errors import LauncherError
from launcher.programs import Instance, direct

COMPATIBILITY_DATE = "2026-01-01"
DEADLINE_SECONDS = 30.0
BOUNDARY = "skerry-bench-boundary"

HELLO = 'export default { fetch: () => Response.json({ hello: "world" }) };\n'


def host_of(script: str) -> str:
    return f"{script}.dev.localhost"


def answering(text: str) -> str:
    return f"export default {{ fetch: () => new Response({json.dumps(text)}) }};\n"


def deploy(instance: Instance, script: str, source: str, **more: object) -> float:
    """Upload a version, with `more` in its metadata, and send all traffic to it; seconds until the API
    accepted it."""
    metadata = json.dumps(
        {"main_module": "index.js", "compatibility_date": COMPATIBILITY_DATE, **more}
    )
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{metadata}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="index.js"; filename="index.js"\r\n'
        f"Content-Type: application/javascript+module\r\n\r\n{source}\r\n--{BOUNDARY}--\r\n"
    )
    began = time.monotonic()
    _send(instance, "PUT", script, body.encode(), f"multipart/form-data; boundary={BOUNDARY}")
    return time.monotonic() - began


def make_reachable(instance: Instance, script: str) -> None:
    _send(instance, "POST", f"{script}/subdomain", b'{"enabled": true}', "application/json")


def set_scaling(instance: Instance, script: str, **scaling: int) -> None:
    """`idle_seconds`, `max_cells`."""
    body = json.dumps({"scaling": scaling}).encode()
    _send(instance, "PATCH", f"{script}/script-settings", body, "application/json")


def start_tail(instance: Instance, script: str) -> tuple[str, str]:
    """Make a tail, which goes by itself a minute after nobody read it; its id and its WebSocket's address."""
    answer = _send(instance, "POST", f"{script}/tails", b"{}", "application/json")
    made = json.loads(answer)["result"]
    return str(made["id"]), str(made["url"])


def end_tail(instance: Instance, script: str, tail_id: str) -> None:
    _send(instance, "DELETE", f"{script}/tails/{tail_id}", b"", "application/json")


def _send(instance: Instance, method: str, path: str, body: bytes, content_type: str) -> bytes:
    return _ask(instance, method, f"workers/scripts/{path}", body, content_type)


def _ask(instance: Instance, method: str, path: str, body: bytes, content_type: str) -> bytes:
    account = f"{started.api_url(instance)}/accounts/{instance.config.account_id}"
    request = urllib.request.Request(  # noqa: S310 - our own http URL
        f"{account}/{path}",
        data=body,
        method=method,
        headers={
            "Authorization": f"Bearer {started.api_token(instance)}",
            "Content-Type": content_type,
        },
    )
    with direct.open(request, timeout=60.0) as response:
        answer: bytes = response.read()
    return answer


def choose_target(instance: Instance, script: str, seconds: float) -> str:
    """Let the script answer from a Lambda target of the stand-in; the function's name, once it is there."""
    from tests.aws.cloud import KEY_ID, ROLE, SECRET  # noqa: PLC0415 - the stand-in is the tests' own

    keys = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
    target = {"name": "bench", "region": "eu-central-1", "role_arn": ROLE, **keys}
    json_type = "application/json"
    body = json.dumps(target).encode()
    made = json.loads(_ask(instance, "POST", "skerry/targets", body, json_type))
    chosen = f"{script}/skerry-targets"
    _send(instance, "PUT", f"{chosen}/{made['result']['id']}", b"", json_type)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = json.loads(_send(instance, "GET", chosen, b"", json_type))
        if function := found["result"]["targets"][0]["function"]:
            return str(function)
        time.sleep(0.1)
    raise LauncherError(f"{script} had no function within {seconds} s.")


def deploy_to_live(instance: Instance, script: str) -> tuple[float, float]:
    """Seconds until a deploy is accepted, and from there until a visitor gets the new answer."""
    text = f"round {time.monotonic_ns()}"
    accepted = deploy(instance, script, answering(text))
    began = time.monotonic()
    wait_for(instance, script, text)
    return accepted, time.monotonic() - began


def wait_for(instance: Instance, script: str, text: str) -> None:
    """Ask until the script answers with this text."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    url = f"http://127.0.0.1:{instance.config.ports['edge-1.http']}/"
    request = urllib.request.Request(url, headers={"Host": host_of(script)})
    while time.monotonic() < deadline:
        try:
            with direct.open(request, timeout=10.0) as response:
                if response.read().decode() == text:
                    return
        except OSError:
            pass  # not served yet: 404 until the first version is up
    raise LauncherError(f"{script} did not answer with its new version in {DEADLINE_SECONDS} s.")
