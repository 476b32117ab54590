"""A bundle on its way out, in the form in which it came in."""

import secrets

from api.versions.bundle import CONTENT_OF_TYPE, Upload


def encode_modules(upload: Upload) -> tuple[bytes, str]:
    """The modules as multipart/form-data (RFC 7578): the body, and its content type."""
    boundary = f"skerry-{secrets.token_hex(16)}"
    body = bytearray()
    for module in upload.modules:
        name = module.name.replace("\\", "\\\\").replace('"', '\\"')
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"Content-Type: {CONTENT_OF_TYPE[module.type]}\r\n\r\n"
        )
        body += head.encode() + module.content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"
