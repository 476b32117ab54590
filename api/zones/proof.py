"""Whether the TXT record of a zone is in DNS."""

from urllib.parse import urlsplit

import dns.exception
import dns.nameserver
import dns.resolver

from api.settings import settings

# For all name servers together: somebody waits for the answer.
LOOK_SECONDS = 5.0
DNS_PORT = 53


def problem(challenge: str, token: str) -> str:
    """A sentence about why the record `challenge` does not hold the token; empty when it does."""
    try:
        answer = _resolver().resolve(challenge, "TXT", lifetime=LOOK_SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return f"There is no TXT record {challenge}."
    except dns.exception.DNSException as error:
        return f"DNS could not be asked for {challenge}: {str(error)[:300]}"
    # DNS gives them in any order.
    texts = sorted(b"".join(record.strings).decode("ascii", "replace") for record in answer)
    if token in (text.strip() for text in texts):
        return ""
    return f"The TXT record {challenge} holds something else: {', '.join(texts)[:200]}"


def _resolver() -> dns.resolver.Resolver:
    """One without a cache, so that a record that was just made is seen."""
    chosen = settings().resolvers
    resolver = dns.resolver.Resolver(configure=not chosen)
    if chosen:
        resolver.nameservers = [_server(text) for text in chosen]
    return resolver


def _server(text: str) -> dns.nameserver.Nameserver:
    """`address`, `address:port` or `[address]:port`."""
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    parts = urlsplit(f"//{text}")
    return dns.nameserver.Do53Nameserver(parts.hostname or "", parts.port or DNS_PORT)
