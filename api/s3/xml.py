"""Bodies of S3 in XML: written from lists of pairs, read without what XML can do besides."""

from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from api.s3.problems import S3Problem

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
BODY_BYTES_MAX = 2 * 1024 * 1024

Pairs = Iterable[tuple[str, Any]]


def document(name: str, pairs: Pairs) -> bytes:
    """`pairs` are elements in order; the value of one is text, a number or pairs again."""
    inside = "".join(_element(*pair) for pair in pairs)
    # Clients look for the parts of an error outside of any namespace.
    attributes = "" if name == "Error" else f' xmlns="{NAMESPACE}"'
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{attributes}>{inside}</{name}>'
    return text.encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f"<{name}>{''.join(_element(*pair) for pair in value)}</{name}>"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>"


def parsed(body: bytes, name: str) -> ElementTree.Element:
    """The root element. Raises S3Problem for what is no such document."""
    malformed = S3Problem(
        "MalformedXML", 400, "The XML you provided was not well-formed or did not validate."
    )
    # A document type is the only way to entities, and nothing of S3 has one.
    if b"<!" in body or len(body) > BODY_BYTES_MAX:
        raise malformed
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - without a document type there is no bomb
    except (ElementTree.ParseError, ValueError) as error:
        raise malformed from error
    if _local(root.tag) != name:
        raise malformed
    return root


def children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if _local(child.tag) == name]


def text_of(element: ElementTree.Element, name: str) -> str:
    """The text of the one child of that name; empty when there is none."""
    found = children(element, name)
    return (found[0].text or "") if found else ""


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
