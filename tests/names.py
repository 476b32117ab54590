"""A name server on loopback that knows the TXT records it is given."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

WAIT_SECONDS = 0.05


@dataclass
class NameServer:
    """It speaks real DNS over UDP; a name that it has no record of does not exist."""

    address: str
    records: dict[str, list[str]] = field(default_factory=dict)
    """The texts of the TXT records of names without a dot at the end."""
    asked: list[str] = field(default_factory=list)
    silent: bool = False

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append(name)
        if self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        texts = self.records.get(name)
        if texts is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            quoted = [f'"{text}"' for text in texts]
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", *quoted))
        return response.to_wire()


@contextmanager
def name_server() -> Iterator[NameServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(WAIT_SECONDS)
        server = NameServer(f"127.0.0.1:{listening.getsockname()[1]}")
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    wire, peer = listening.recvfrom(4096)
                except TimeoutError:
                    continue
                if (said := server.answer(wire)) is not None:
                    listening.sendto(said, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            thread.join()
