"""The processes of the control plane: their commands and settings. docker-compose.yml starts the same ones."""

import os
import urllib.request
from dataclasses import dataclass

from launcher import ports, postgres, valkey
from launcher.children import LogMark, Program, log_path
from launcher.config import Config, reachable
from launcher.paths import VENV_PYTHON, WORKERD, WORKERD_SCHEMA_DIR, DataDirectory

PYTHON = [str(VENV_PYTHON), "-P"]


@dataclass(frozen=True)
class Instance:
    """One installation: what it remembers and where it lives."""

    config: Config
    data: DataDirectory

    def address(self, port_name: str, scheme: str = "http") -> str:
        return f"{scheme}://{reachable(self.config.bind)}:{self.config.ports[port_name]}"

    def origin(self, host: str, scheme: str = "http") -> str:
        """Where the first node answers for a host name, as api/scripts/urls.py says it."""
        port = self.config.ports[f"edge-1.{scheme}"]
        standard = {"http": ports.STANDARD_HTTP, "https": ports.STANDARD_HTTPS}[scheme]
        return f"{scheme}://{host}" + ("" if port == standard else f":{port}")


def external_database() -> str | None:
    """DATABASE_URL with the driver named that is installed here; None: the embedded server is used."""
    found = os.environ.get("DATABASE_URL")
    for scheme in ("postgresql://", "postgres://"):
        if found and found.startswith(scheme):
            return "postgresql+psycopg://" + found.removeprefix(scheme)
    return found or None


def external_redis() -> str | None:
    """REDIS_URL; None: the embedded Valkey is used."""
    return os.environ.get("REDIS_URL") or None


def embedded_servers() -> list[str]:
    """The names of the servers that this machine runs itself."""
    wanted = {ports.POSTGRES: external_database(), ports.VALKEY: external_redis()}
    return [name for name, replaced in wanted.items() if replaced is None]


def apps_domain() -> str:
    """Below it are the live URLs."""
    return os.environ.get("SKERRY_APPS_DOMAIN", "localhost")


def public_url(instance: Instance) -> str:
    """Where people reach the dashboard."""
    return os.environ.get("SKERRY_PUBLIC_URL", instance.address(ports.CONTROL))


def settings(instance: Instance) -> dict[str, str]:
    """The environment of every process of the control plane."""
    config, data = instance.config, instance.data
    return {
        "DATABASE_URL": external_database()
        or postgres.url(config.ports[ports.POSTGRES], config.password("postgres")),
        "REDIS_URL": external_redis()
        or valkey.url(config.ports[ports.VALKEY], config.password("valkey")),
        "SKERRY_MASTER_KEY_FILE": str(data.master_key),
        "SKERRY_BIND": config.bind,
        "SKERRY_PORT": str(config.ports[ports.CONTROL]),
        "SKERRY_GATEWAY_BIND": config.bind,
        "SKERRY_GATEWAY_PORT": str(config.ports[ports.GATEWAY]),
        "SKERRY_APPS_DOMAIN": apps_domain(),
        "SKERRY_APPS_HTTP_PORT": str(config.ports["edge-1.http"]),
        "SKERRY_PUBLIC_URL": public_url(instance),
        **runtime_settings(),
    }


def runtime_settings() -> dict[str, str]:
    """Where the pinned runtime is; for nodes, and for the check of an upload."""
    return {"SKERRY_WORKERD": str(WORKERD), "SKERRY_WORKERD_SCHEMA_DIR": str(WORKERD_SCHEMA_DIR)}


def servers(instance: Instance) -> list[Program]:
    """The embedded servers that are not replaced by a URL."""
    config, data = instance.config, instance.data
    found = []
    for name in embedded_servers():
        if name == ports.POSTGRES:
            found.append(postgres.program(data.postgres, config.ports[name]))
        else:
            found.append(valkey.program(data.valkey, config.ports[name], config.password("valkey")))
    return found


def control(instance: Instance) -> Program:
    """API, dashboard and gateway in one process."""
    health = instance.address(ports.CONTROL) + "/healthz"
    return Program(
        name="control",
        command=[*PYTHON, "-m", "launcher.control"],
        environment=settings(instance),
        port=instance.config.ports[ports.CONTROL],
        ready=lambda: answers(health),
    )


def background(instance: Instance) -> list[Program]:
    """The Celery worker and its clock."""
    celery = [*PYTHON, "-m", "celery", "-A"]
    ready = LogMark(
        log_path(instance.data, "worker"), b" ready."
    )  # "celery@HOST ready.": it consumes now
    return [
        Program(
            name="worker",
            command=[
                *celery,
                "worker.app",
                "worker",
                "-Q",
                "push,default",
                "-c",
                "4",
                "--loglevel=INFO",
                # The only worker here: without a second's wait for the answers of others.
                "--without-mingle",
                "--without-gossip",
            ],
            environment=settings(instance),
            ready=ready.passed,
            prepare=ready.set,
        ),
        Program(
            name="beat",
            command=[
                *celery,
                "worker.clock",
                "beat",
                "-s",
                str(instance.data.beat_schedule),
                "--pidfile=",
                "--loglevel=INFO",
            ],
            environment=settings(instance),
        ),
    ]


def preparation(instance: Instance, new_nodes: list[str]) -> list[str]:
    """The program that migrates the database and makes what a first start needs."""
    join = ["--join", *new_nodes] if new_nodes else []
    return [
        *PYTHON,
        "-m",
        "launcher.preparation",
        "--data",
        str(instance.data.path),
        *join,
    ]


# Proxies of the environment are for the way out, never for this machine's own servers.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Whether a GET is answered with 200 within two seconds."""
    try:
        with direct.open(url, timeout=2.0) as response:
            return bool(response.status == 200)
    except OSError:
        return False
