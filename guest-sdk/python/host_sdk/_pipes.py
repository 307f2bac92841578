"""The pipes to a child, as files, and all of them at once."""

import io

from componentize_py_types import Err
from wit_world.imports.streams import StreamError_Closed

from ._wait import first_ready

READ_SIZE = 64 * 1024


class _Pipe(io.RawIOBase):
    def __init__(self, child, stream):
        self._child = child  # which must live as long: dropping it closes the channel
        self.stream = stream

    def close(self):
        if not self.closed:
            self.stream.__exit__(None, None, None)
        super().close()


class Reader(_Pipe):
    """What the child writes; reading waits for it."""

    def readable(self):
        return True

    def readinto(self, buffer):
        data = b""
        while not data and len(buffer):
            data = self.take(self.stream.blocking_read, len(buffer))
            if data is None:
                return 0
        buffer[: len(data)] = data
        return len(data)

    def take(self, read, size=READ_SIZE):
        """Some bytes, or None at the end."""
        try:
            return read(min(size, READ_SIZE))
        except Err as error:
            if isinstance(error.value, StreamError_Closed):
                return None
            raise OSError("reading from the child failed") from error


class Writer(_Pipe):
    """What the child reads; writing waits until it has room, and closing is the end of its input."""

    def writable(self):
        return True

    def write(self, data):
        self._wait_for_room()
        written = self.put(data)
        # Until then the host may hold some of it, and pass it on only when it is asked again.
        self._wait_for_room()
        return written

    def put(self, data):
        """Hands over as many bytes as there is room for, and says how many that were."""
        data = bytes(data[: self._attempt(self.stream.check_write)])
        self._attempt(self.stream.write, data)
        return len(data)

    def _wait_for_room(self):
        while not self._attempt(self.stream.check_write):
            first_ready([self.stream.subscribe()])

    def _attempt(self, function, *arguments):
        try:
            return function(*arguments)
        except Err as error:
            raise BrokenPipeError("the child reads no more") from error


class Exchange:
    """Writes the child's input and collects what it prints, whichever is ready first."""

    def __init__(self, writer, data, readers):
        self._writer = writer
        self._rest = memoryview(data)
        self._readers = [reader for reader in readers if reader]
        self._collected = {reader: bytearray() for reader in self._readers}

    def printed(self, reader):
        return None if reader is None else bytes(self._collected[reader])

    def run(self, until):
        """False if the deadline came first; then it can be called again."""
        while True:
            if self._writer and not self._rest:
                self._end_input()
            pipes = [*self._readers, *([self._writer] if self._writer else [])]
            if not pipes:
                return True
            ready = first_ready([pipe.stream.subscribe() for pipe in pipes], until)
            if not ready:
                return False
            for index in ready:
                self._write() if pipes[index] is self._writer else self._read(pipes[index])

    def _write(self):
        try:
            self._rest = self._rest[self._writer.put(self._rest) :]
        except BrokenPipeError:  # as in `subprocess`: what it does not want to read is no error
            self._end_input()

    def _end_input(self):
        self._writer.close()
        self._writer = None

    def _read(self, reader):
        data = reader.take(reader.stream.read)
        if data is None:
            self._readers.remove(reader)
            reader.close()
        else:
            self._collected[reader] += data
