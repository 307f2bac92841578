"""Programs that the operator granted with `--program NAME=PATH`, in the shape of Python's `subprocess`.

    from host_sdk import subprocess

    result = subprocess.run(["gzip", "-c"], input=data, capture_output=True, timeout=1)

The first word is the granted name. There is no shell and no `stderr=STDOUT`, pipes are always buffered, and
`env=None` means the plugin's own environment. A WebAssembly program with `ipc=True` also takes and sends
messages; in it they are those of `host_sdk.cluster`. Waiting holds up this instance of the plugin and no other.
"""

import io
import json
import subprocess as _std
from subprocess import CalledProcessError, SubprocessError, TimeoutExpired

from componentize_py_types import Err
from wit_world.imports import child_process as _raw

from ._messages import MessageError, encode, reply_to, retry
from ._pipes import READ_SIZE, Exchange, Reader, Writer
from ._signals import returncode_of, signal_of
from ._spawn import DEVNULL, PIPE, spawn, stdio
from ._wait import deadline, first_ready, nanoseconds

__all__ = ["DEVNULL", "PIPE", "CalledProcessError", "CompletedProcess", "MessageError", "Popen"]
__all__ += ["SubprocessError", "TimeoutExpired", "check_output", "programs", "run"]


def programs():
    """The granted names."""
    return _raw.programs()


class CompletedProcess(_std.CompletedProcess):
    """As in `subprocess`, and `limit`."""

    limit = None


def run(args, *, input=None, capture_output=False, timeout=None, check=False, **options):
    """Runs a program to its end. After `timeout` seconds the host kills it, and this raises TimeoutExpired."""
    if input is not None:
        if options.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used")
        options["stdin"] = PIPE
    if capture_output:
        if options.get("stdout") is not None or options.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output")
        options["stdout"] = options["stderr"] = PIPE
    with Popen(args, timeout=timeout, kill_signal="SIGKILL", **options) as process:
        try:
            stdout, stderr = process.communicate(input)
        except BaseException:
            process.kill()
            raise
    if process.limit == "timeout":
        raise TimeoutExpired(args, timeout, stdout, stderr)
    result = CompletedProcess(args, process.returncode, stdout, stderr)
    result.limit = process.limit
    if check:
        result.check_returncode()
    return result


def check_output(args, **options):
    """What a program prints. CalledProcessError if it fails."""
    return run(args, stdout=PIPE, check=True, **options).stdout


class Popen:
    """A program that was started; dropping this closes its pipes and leaves it running.

    `timeout` and `kill_signal` are for the host: it signals the child then, whether or not somebody waits.
    `limit` says afterwards if that, `cpu-time` or `memory` ended it. With `detached` it may outlive the worker.
    """

    def __init__(
        self, args, *, stdin=None, stdout=None, stderr=None, env=None, cwd=None,
        text=None, encoding=None, errors=None, universal_newlines=None, user=None, group=None,
        ipc=False, timeout=None, kill_signal="SIGTERM", detached=False,
    ):  # fmt: skip
        self.args = args
        self.returncode = None
        self.limit = None
        self._codec = (encoding or "utf-8", errors or "strict")
        self._text = bool(text or universal_newlines or encoding or errors)
        self._exchange = None
        self._child = spawn(
            args, env, cwd, kill_signal, timeout,
            stdin=stdio("stdin", stdin), stdout=stdio("stdout", stdout), stderr=stdio("stderr", stderr),
            ipc=ipc, detached=detached, uid=user, gid=group,
        )  # fmt: skip
        self.pid = self._child.pid()
        self._pipes = [
            Writer(self._child, self._child.stdin()) if stdin == PIPE else None,
            Reader(self._child, self._child.stdout()) if stdout == PIPE else None,
            Reader(self._child, self._child.stderr()) if stderr == PIPE else None,
        ]
        self.stdin, self.stdout, self.stderr = (self._file(pipe) for pipe in self._pipes)

    def _file(self, pipe):
        if pipe is None:
            return None
        buffered = io.BufferedWriter if pipe.writable() else io.BufferedReader
        file = buffered(pipe, READ_SIZE)
        return io.TextIOWrapper(file, *self._codec) if self._text else file

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        """Closes pipes and channel, so that the child has nothing more to do, and waits for its end."""
        for file in (self.stdout, self.stderr, self.stdin):
            try:
                if file:
                    file.close()
            except BrokenPipeError:
                pass
        self.disconnect()
        self.wait()

    def poll(self):
        """The return code, or None while it runs."""
        if self.returncode is None and (end := self._child.exit_status()):
            self.returncode = returncode_of(end.status)
            self.limit = None if end.limit is None else end.limit.name.lower().replace("_", "-")
        return self.returncode

    def wait(self, timeout=None):
        if not self._ended(deadline(timeout)):
            raise TimeoutExpired(self.args, timeout)
        return self.returncode

    def _ended(self, until):
        while self.poll() is None:
            if not first_ready([self._child.subscribe_exit()], until):
                return False
        return True

    def communicate(self, input=None, timeout=None):
        """Writes the input, reads both outputs to their ends, and waits for the end. After TimeoutExpired, which
        leaves the child running, it can be called again and nothing is lost."""
        until = deadline(timeout)
        if self._exchange is None:
            self._exchange = self._start_exchange(input)
        in_time = self._exchange.run(until) and self._ended(until)
        printed = [self._exchange.printed(pipe) for pipe in self._pipes[1:]]
        if not in_time:
            raise TimeoutExpired(self.args, timeout, *printed)
        return tuple(map(self._decoded, printed))

    def _start_exchange(self, input):
        if input and self.stdin is None:
            raise ValueError("input needs stdin=PIPE")
        if input and self._text:
            input = input.encode(*self._codec)
        try:
            if self.stdin and not self.stdin.closed:
                self.stdin.flush()
        except BrokenPipeError:
            pass
        pipes = [None if pipe is None or pipe.closed else pipe for pipe in self._pipes]
        return Exchange(pipes[0], input or b"", pipes[1:])

    def _decoded(self, data):
        if data is None or not self._text:
            return data
        return data.decode(*self._codec).replace("\r\n", "\n").replace("\r", "\n")

    def send_signal(self, signal):
        """A name, a member of `signal.Signals`, or a number as on Linux. Nothing happens after the end."""
        try:
            self._child.kill(signal_of(signal))
        except Err:
            self.poll()

    def terminate(self):
        self.send_signal("SIGTERM")

    def kill(self):
        self.send_signal("SIGKILL")

    @property
    def connected(self):
        """Messages can be sent."""
        return self._child.connected()

    def send(self, message, wait=True):
        """Sends a value that JSON can say. With `wait=False` a full queue is a BlockingIOError."""
        self.send_bytes(encode(message), wait)

    def receive(self, timeout=None):
        """The next message's value. MessageError when the child has closed the channel, or ended."""
        return json.loads(self.receive_bytes(timeout).body)

    def send_bytes(self, body, wait=True):
        retry(lambda: self._child.send(body), self._child.subscribe_send, wait)

    def receive_bytes(self, timeout=None):
        """The next message: `body`, and `request` if the child waits for `reply(request, value)`."""
        try:
            return retry(self._child.receive, self._child.subscribe_receive, until=deadline(timeout))
        except TimeoutError:
            raise TimeoutExpired(self.args, timeout) from None

    def request(self, message, timeout=None):
        """Sends a message and waits for the reply to it."""
        body = encode(message)
        try:
            return reply_to(lambda: self._child.request(body, nanoseconds(timeout)), self._child.subscribe_send)
        except MessageError as error:
            if error.reason == "TimedOut":
                raise TimeoutExpired(self.args, timeout) from None
            raise

    def reply(self, request, message, wait=True):
        body = encode(message)
        retry(lambda: self._child.reply(request, body), self._child.subscribe_send, wait)

    def disconnect(self):
        """Closes the channel once what was sent has arrived."""
        self._child.disconnect()
