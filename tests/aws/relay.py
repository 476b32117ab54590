"""TLS in front of a server that speaks plain HTTP, as a reverse proxy of the operator's would."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.edge.gateway import Authority, pem

NAME = "localhost"


def certified(folder: Path, name: str = NAME) -> tuple[Path, ssl.SSLContext]:
    """The file of an authority, and what a server with a certificate of its for this name listens with."""
    authority, key = Authority(), ec.generate_private_key(ec.SECP256R1())
    certificate, ca = folder / f"{name}.pem", folder / f"{name}-ca.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    )
    certificate.write_text(pem(authority.sign(name, key.public_key(), name)) + private.decode())
    ca.write_text(pem(authority.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return ca, context


@contextmanager
def relay(port: int, upstream: int, context: ssl.SSLContext) -> Iterator[None]:
    """Whoever connects to `port` over TLS speaks with `upstream`, both on this machine."""
    ready = threading.Event()
    started: list[asyncio.AbstractEventLoop] = []
    stop = asyncio.Event()

    async def serve() -> None:
        started.append(asyncio.get_running_loop())
        server = await asyncio.start_server(
            lambda reader, writer: _passed(reader, writer, upstream), "127.0.0.1", port, ssl=context
        )
        ready.set()
        async with server:
            await stop.wait()

    # `run` ends what still passes, and closes the loop.
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        started[0].call_soon_threadsafe(stop.set)
        thread.join(10)


async def _passed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int
) -> None:
    with contextlib.suppress(OSError):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", upstream)
        await asyncio.gather(_pour(reader, inner_writer), _pour(inner_reader, writer))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
    writer.close()
