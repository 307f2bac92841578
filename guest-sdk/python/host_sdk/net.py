"""Raw connections: `ConnectionHandler = net.handler(function)`; the function gets a `Connection`."""

from componentize_py_types import Err
from wit_world.imports.streams import StreamError_Closed

READ_SIZE = 64 * 1024


class Connection:
    """A connection with the manners of a blocking socket."""

    def __init__(self, raw):
        self.raw = raw
        self._input = raw.input_stream()
        self._output = raw.output_stream()

    def recv(self, size=READ_SIZE):
        """Some bytes, at least one; none when the client has closed its side."""
        while True:
            try:
                data = self._input.blocking_read(size)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return b""
                raise ConnectionResetError("connection reset by the client") from error
            if data:
                return data

    def sendall(self, data):
        data = memoryview(data)
        while data:
            try:
                room = self._output.check_write()
                if not room:
                    with self._output.subscribe() as pollable:
                        pollable.block()
                    continue
                self._output.write(bytes(data[:room]))
            except Err as error:
                raise BrokenPipeError("the client is gone") from error
            data = data[room:]

    def close(self):
        self._input.__exit__(None, None, None)
        self._output.__exit__(None, None, None)
        self.raw.__exit__(None, None, None)


def handler(function):
    """The class that componentize-py looks for: its `handle` is called for every connection."""

    class ConnectionHandler:
        def handle(self, connection):
            wrapped = Connection(connection)
            try:
                function(wrapped)
            except OSError as error:
                raise Err(str(error)) from error
            finally:
                wrapped.close()

    return ConnectionHandler
