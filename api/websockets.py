"""A WebSocket server that takes frames without a mask.

wrangler sends one right after it has connected to a tail, which RFC 6455 forbids (section 5.1) and
every server refuses; it then connects again and again. Such a frame gets a mask of zeros here, which
changes nothing of what it says.
"""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MASKED = 0x80
NO_MASK = b"\0\0\0\0"
# Length fields that say how many bytes of length follow.
LONGER = {126: 2, 127: 8}


class Remasking:
    """Reads frames as they come and gives each a mask that has none."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0
        """Bytes of the current frame that are passed on as they are."""

    def pass_on(self, received: bytes) -> bytes:
        """The same frames, all of them masked; half a head waits for its other half."""
        out = bytearray()
        while received:
            if self._left:
                part, received = received[: self._left], received[self._left :]
                out += part
                self._left -= len(part)
                continue
            self._head += received[:1]
            received = received[1:]
            if self._whole():
                out += self._begun()
        return bytes(out)

    def _whole(self) -> bool:
        if len(self._head) < 2:
            return False
        return len(self._head) == 2 + LONGER.get(self._head[1] & 0x7F, 0)

    def _begun(self) -> bytes:
        head, self._head = self._head, bytearray()
        short = head[1] & 0x7F
        self._left = int.from_bytes(head[2:], "big") if short in LONGER else short
        if head[1] & MASKED:
            self._left += len(NO_MASK)
            return bytes(head)
        head[1] |= MASKED
        return bytes(head) + NO_MASK


class LenientWebSockets(WebSocketsSansIOProtocol):
    """uvicorn's own server, after every frame has got a mask."""

    _remasking: Remasking | None = None

    def data_received(self, data: bytes) -> None:
        if self._remasking is None:
            self._remasking = Remasking()  # the first bytes are the request
        else:
            data = self._remasking.pass_on(data)
        super().data_received(data)
