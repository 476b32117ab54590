"""Zones, routes and custom domains: what is stored, what is refused, and what the nodes are told."""

import pytest

from api.errors import RouteInvalid, ZoneNameInvalid
from api.zones import names, patterns


@pytest.mark.parametrize(
    ("text", "stored", "base"),
    [
        ("example.com", "example.com/", "example.com"),
        ("Example.COM/Path", "example.com/Path", "example.com"),
        ("example.com/*", "example.com/*", "example.com"),
        ("https://*.example.com/a*", "https://*.example.com/a*", "example.com"),
        ("*example.com/*", "*example.com/*", "example.com"),
        ("HTTP://example.com", "http://example.com/", "example.com"),
        ("bücher.example/", "xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("*.bücher.example/x", "*.xn--bcher-kva.example/x", "xn--bcher-kva.example"),
        ("example.com./x", "example.com/x", "example.com"),
    ],
)
def test_how_a_pattern_is_stored(text: str, stored: str, base: str) -> None:
    read = patterns.read(text)
    assert (str(read), read.base) == (stored, base)
    assert str(patterns.read(stored)) == stored


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no host"),
        ("/path", "no host"),
        ("*/path", "no host"),
        ("ftp://example.com/", "no other scheme"),
        ("example.com:8080/", "no port"),
        ("a*.example.com/", "one wildcard at most, at its beginning"),
        ("**.example.com/", "one wildcard at most, at its beginning"),
        ("example.com/*/x", "one wildcard at most, at its end"),
        ("example.com/**", "one wildcard at most, at its end"),
        ("example.com/?a=b", "no query"),
        ("example.com/#a", "no query and no fragment"),
        ("example.com/a b", "printable ASCII"),
        ("example.com/ü", "percent-encoded"),
        ("127.0.0.1/x", "IP address"),
        ("-a.example.com/", "no label"),
        ("a..example.com/", "no label"),
        ("example.com/" + "x" * 1100, "at most 1,024"),
    ],
)
def test_what_is_no_pattern(text: str, said: str) -> None:
    with pytest.raises(RouteInvalid, match=said):
        patterns.read(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost", "with a dot"),
        ("my.localhost", "with a dot"),
        ("com", "with a dot"),
        ("10.0.0.1", "IP address"),
        ("::1", "no label"),
        ("1.2.3", "IP address"),
        ("a b.example", "no label"),
        ("*.example.com", "no label"),
        (".".join(["a" * 60] * 4) + ".example", "at most 235"),
        ("x" * 64 + ".example", "no label"),
        ("ü" * 70 + ".example", "no domain"),
    ],
)
def test_what_is_no_zone(text: str, said: str) -> None:
    with pytest.raises(ZoneNameInvalid, match=said):
        names.zone_name(text)


def test_how_a_zone_is_stored() -> None:
    assert names.zone_name(" Bücher.Example. ") == "xn--bcher-kva.example"
