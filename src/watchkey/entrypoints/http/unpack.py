"""The body of a request without its content encoding, bounded while it is unpacked."""

import zlib
from typing import Final

from watchkey.entrypoints.http.exchange import Fault, Request

_GZIP: Final = 31
"""`wbits` of zlib for a gzip frame."""


def unpacked_body(request: Request, bytes_max: int) -> bytes:
    """The body as it is, or out of gzip. Raises `Fault` for another encoding and beyond `bytes_max` unpacked bytes."""
    encoding = request.headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity":
        return request.body
    if encoding != b"gzip":
        raise Fault(400, "invalid_parameter", "the only content encoding taken is gzip")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        body = unpacker.decompress(request.body, bytes_max + 1)
    except zlib.error:
        raise Fault(400, "invalid_parameter", "the body is not gzip") from None
    if len(body) > bytes_max or not unpacker.eof:
        raise Fault(400, "invalid_parameter", f"the unpacked body is cut short or longer than {bytes_max} bytes")
    if unpacker.unused_data:
        # What is passed over would be answered for as if it had been taken.
        raise Fault(400, "invalid_parameter", "something stands behind the gzip body")
    return body
