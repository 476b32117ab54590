"""The bucket in which several nodes keep one account's data together: workerd's `Config.cluster`.

Each account's stores of one kind, one on each node at most, are a cluster of their own below a prefix of
the bucket. Of each namespace, database … one of them is the owner at any time; the others pass on to it.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*")
# A store that is ended hands its objects over in half of this time.
STOP_MS = 4000


class BucketError(ValueError):
    """The settings of the bucket cannot be meant."""


@dataclass(frozen=True)
class Bucket:
    url: str
    """`s3://name/prefix`, without a slash at its end."""
    endpoint: str
    """Empty for AWS itself."""
    region: str
    access_key_id: str
    secret_access_key: str
    bind: str
    """Where stores listen for those of other nodes."""
    host: str
    """Where those find them."""

    @property
    def summary(self) -> str:
        """Part of a store's digest: another bucket, another process. Says nothing of the secret."""
        secret = hashlib.sha256(self.secret_access_key.encode()).hexdigest()[:16]
        said = (
            self.url,
            self.endpoint,
            self.region,
            self.access_key_id,
            secret,
            self.bind,
            self.host,
        )
        return " ".join(said)

    def join(self, config: Any, account_id: str, kind: str) -> None:
        """Make a store's configuration a member of its cluster."""
        cluster = config.init("cluster")
        cluster.bucket = f"{self.url}/stores/{account_id}/{kind}"
        options = {
            "aws_region": self.region,
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            **({"aws_endpoint": self.endpoint} if self.endpoint else {}),
        }
        cluster.bucketOptions = [f"{name}={value}" for name, value in options.items()]
        cluster.address, cluster.advertise = f"{self.bind}:0", f"{self.host}:0"
        cluster.key = self._key(account_id, kind)
        cluster.stopTimeoutMs = STOP_MS

    def _key(self, account_id: str, kind: str) -> str:
        """What its members know and no other account's: all nodes have the bucket's secret."""
        said = f"skerry cluster {account_id} {kind}".encode()
        return hmac.digest(self.secret_access_key.encode(), said, "sha256").hex()


def read_bucket(environ: Mapping[str, str], bind: str, advertise: str) -> Bucket | None:
    """None when SKERRY_BUCKET is not set. Raises BucketError."""
    url = environ.get("SKERRY_BUCKET", "").rstrip("/")
    if not url:
        return None
    if not _URL.fullmatch(url):
        raise BucketError(f"SKERRY_BUCKET must be s3://name/prefix, not {url!r}")
    access_key_id = _needed(environ, "SKERRY_BUCKET_ACCESS_KEY_ID")
    secret_access_key = _needed(environ, "SKERRY_BUCKET_SECRET_ACCESS_KEY")
    endpoint = environ.get("SKERRY_BUCKET_ENDPOINT", "").rstrip("/")
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise BucketError(f"SKERRY_BUCKET_ENDPOINT must be a URL, not {endpoint!r}")
    host = environ.get("SKERRY_BUCKET_HOST") or urlsplit(advertise).hostname or bind
    return Bucket(
        url=url,
        endpoint=endpoint,
        region=environ.get("SKERRY_BUCKET_REGION") or "us-east-1",
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        bind=_bracketed(bind),
        host=_bracketed(host),
    )


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise BucketError(f"SKERRY_BUCKET needs {name}")
    return value


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
