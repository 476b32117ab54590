"""A node that joins the running platform, reports a weak sandbox, and is never heard of again."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from launcher import ports, postgres, started
from launcher.paths import DataDirectory
from tests.certificates import request_certificate
from tests.platform import ROOT, clean_environment

NAME = "borrowed-laptop"


@contextmanager
def joined(data: Path, sandbox: str) -> Iterator[None]:
    """While this lasts the platform has that node too; every deployment would wait for it."""
    instance = started.find(DataDirectory(data))
    config = instance.config
    environment = {
        **clean_environment(),
        "DATABASE_URL": postgres.url(config.ports[ports.POSTGRES], config.password("postgres")),
        "SKERRY_MASTER_KEY_FILE": str(instance.data.master_key),
    }

    def admin(*arguments: str) -> str:
        command = [sys.executable, "-m", "api.admin", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    gateway = httpx2.Client(
        base_url=instance.address(ports.GATEWAY, "https"),
        verify=False,  # our own gateway on loopback, with a CA of its own
        trust_env=False,
    )
    with gateway:
        enrolment = {
            "join_token": admin("join-token"),
            "name": NAME,
            "agent_url": "https://127.0.0.1:9",
            "csr": request_certificate(),
        }
        enrolled = gateway.post("/edge/v1/enrolments", json=enrolment).raise_for_status().json()
        try:
            report = {
                "generation": 0,
                "agent_version": "0.0.9",
                "runtime_version": "1.20250101.0",
                "runtime_compatibility_date": "2025-01-01",
                "sandbox": sandbox,
            }
            headers = {"Authorization": f"Bearer {enrolled['token']}"}
            gateway.post("/edge/v1/reports", json=report, headers=headers).raise_for_status()
            yield
        finally:
            admin("remove-node", NAME)
