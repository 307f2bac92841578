"""One request and one response of wasi:http, as bytes and pairs of text. Shared by the WSGI and the ASGI side."""

# The component carries what was imported when it was built and finds nothing later, so codecs that frameworks
# look up by name are imported here.
import encodings.ascii
import encodings.idna
import encodings.latin_1
import encodings.utf_8
import encodings.utf_8_sig
import io
import urllib.parse
from dataclasses import dataclass

from componentize_py_types import Err, Ok
from wit_world.imports.streams import StreamError_Closed

try:  # componentize-py adds the package to the name when the world has two interfaces called `types`
    from wit_world.imports import wasi_http_types as types
except ImportError:
    from wit_world.imports import types

READ_SIZE = 64 * 1024

# wasi:http writes these itself and refuses them from a plugin.
HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-connection transfer-encoding upgrade http2-settings host te trailer".split()
)


class RequestBody(io.RawIOBase):
    """The request's body as a file; `read` waits for the client."""

    def __init__(self, request):
        self._body = request.consume()
        self._stream = self._body.stream()

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.next_chunk(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def next_chunk(self, size=READ_SIZE):
        """Some bytes, at least one; none at the end."""
        while self._stream is not None:
            try:
                data = self._stream.blocking_read(min(size, READ_SIZE))
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return b""
                raise ConnectionResetError("the client's body was cut off") from error
            if data:
                return data
        return b""

    def close(self):
        if not self.closed:
            self._stream.__exit__(None, None, None)
            self._body.__exit__(None, None, None)
            self._stream = None
        super().close()


@dataclass
class Head:
    """What stands before the body."""

    method: str
    path: str
    raw_path: bytes
    query: str
    scheme: str
    authority: str
    headers: list[tuple[str, bytes]]


def read_head(request):
    target = request.path_with_query() or "/"
    raw_path, _, query = target.partition("?")
    with request.headers() as fields:
        headers = [(name.lower(), value) for name, value in fields.entries()]
    return Head(
        method=_method(request.method()),
        path=urllib.parse.unquote(raw_path, errors="replace"),
        raw_path=raw_path.encode("latin-1", "replace"),
        query=query,
        scheme="https" if isinstance(request.scheme(), types.Scheme_Https) else "http",
        authority=request.authority() or "localhost",
        headers=headers,
    )


def _method(method):
    if isinstance(method, types.Method_Other):
        return method.value
    return type(method).__name__.removeprefix("Method_").upper()


class Response:
    """Sends the head first, then the body in pieces."""

    def __init__(self, out):
        self._out = out
        self._body = self._stream = None

    @property
    def started(self):
        return self._out is None

    def start(self, status, headers):
        """`headers` are pairs of text and bytes."""
        fields = types.Fields.from_list([pair for pair in headers if pair[0].lower() not in HOP_BY_HOP])
        response = types.OutgoingResponse(fields)
        response.set_status_code(status)
        self._body = response.body()
        types.ResponseOutparam.set(self._out, Ok(response))
        self._out = None
        self._stream = self._body.write()

    def write(self, data):
        """Hands all of it to the host, and waits while the client does not take it."""
        data = memoryview(data)
        while data:
            room = self._stream.check_write()
            if not room:
                with self._stream.subscribe() as pollable:
                    pollable.block()
                continue
            self._stream.write(bytes(data[:room]))
            data = data[room:]

    def finish(self):
        self._stream.__exit__(None, None, None)
        types.OutgoingBody.finish(self._body, None)

    def fail(self):
        """An answer for the case that the application raised before it began one."""
        self.start(500, [("content-type", b"text/plain")])
        self.write(b"internal server error\n")
        self.finish()
