"""The primary program: Node's `cluster` as the primary sees it, over `host:cluster/primary`.

    from host_sdk import primary

    @primary.on("message")
    def count(worker, message): ...

    Run = primary.program()

Events and what their functions get, in Node's order: `fork(worker)`, `online(worker)`, `listening(worker,
address)`, `message(worker, value)`, `disconnect(worker)`, `exit(worker, code, signal)`. Beside them there are
`request(worker, value)`, whose function gives the reply, `setup(settings)`, `signal(name)` and `lost(count)`.
"""

import json
import sys
import time
import traceback

from componentize_py_types import Err
from wit_world.imports import primary as _raw

from ._messages import MessageError, attempt, encode, reply_to, retry
from ._signals import code_and_signal, signal_of, types
from ._wait import nanoseconds

settings = _raw.settings

EVENTS = "fork online listening message request disconnect exit setup signal lost".split()
_functions = {event: [] for event in EVENTS}
_timers = []


class ClusterError(Exception):
    """Why the cluster did not do what was asked; `reason` is the case of the WIT variant `cluster-error`."""

    def __init__(self, value):
        self.reason = type(value).__name__.removeprefix("ClusterError_")
        detail = getattr(value, "value", None)
        super().__init__(self.reason if detail is None else f"{self.reason}: {detail}")


def _asked(function, *arguments):
    try:
        return function(*arguments)
    except Err as error:
        raise ClusterError(error.value) from None


class Worker:
    """A worker by its number; equal to every other object of this number."""

    def __init__(self, id, exited_after_disconnect=False):
        self.id = id
        self.exited_after_disconnect = exited_after_disconnect

    def __eq__(self, other):
        return isinstance(other, Worker) and self.id == other.id

    def __hash__(self):
        return hash(self.id)

    def __repr__(self):
        return f"Worker({self.id})"

    def info(self):
        """`pid`, `generation`, `state`, `connected`, `connections` … ClusterError once it has ended."""
        return _asked(_raw.worker, self.id)

    def send(self, message, wait=True):
        """Sends a value that JSON can say. With `wait=False` a full queue is a BlockingIOError."""
        self.send_bytes(encode(message), wait)

    def send_bytes(self, body, wait=True):
        retry(lambda: _raw.send(self.id, body), self._room, wait)

    def request(self, message, timeout=None):
        """Sends a message and waits for its reply, while no event is delivered; the time-out is in seconds."""
        body = encode(message)
        return reply_to(lambda: _raw.request(self.id, body, nanoseconds(timeout)), self._room)

    def kill(self, signal="SIGTERM"):
        _asked(_raw.kill, self.id, signal_of(signal))

    def disconnect(self):
        """Lets it finish and end."""
        _asked(_raw.disconnect, self.id)

    def _room(self):
        return _raw.subscribe_send(self.id)


def workers():
    """All that have not ended."""
    return [Worker(info.id, info.exited_after_disconnect) for info in _raw.workers()]


def fork(env=None):
    """Starts a worker, with these variables added to its environment."""
    return Worker(_asked(_raw.fork, [(name, str(value)) for name, value in (env or {}).items()]))


def broadcast(message):
    """Sends to every worker; gives those that could not take it, each with a MessageError."""
    skipped = attempt(lambda: _raw.broadcast(encode(message)))
    return [(Worker(one.worker), MessageError(one.reason)) for one in skipped]


def disconnect():
    """Lets all workers finish and end, and the host with them."""
    _asked(_raw.disconnect, None)


def setup(plugin=None, arguments=None, silent=None):
    """Changes what the next fork runs with; what is None stays."""
    _asked(_raw.setup, _raw.SetupChanges(plugin, arguments, silent))


def reload():
    """Starts the next generation."""
    _asked(_raw.reload)


def on(event, function=None):
    """Has an event told to a function; without one, this is a decorator."""
    if event not in _functions:
        raise ValueError(f"there is no event {event!r}, but {', '.join(EVENTS)}")
    return _registered(function, _functions[event].append)


def every(seconds, function=None):
    """Calls a function again and again; without one, this is a decorator."""
    return _registered(function, lambda function: _timers.append(_Timer(seconds, function)))


def _registered(function, register):
    def decorate(function):
        register(function)
        return function

    return decorate if function is None else decorate(function)


class _Timer:
    def __init__(self, seconds, function):
        self.seconds, self.function = seconds, function
        # Not now: that may be when the component is built.
        self.due = None

    def run(self, now):
        if self.due is None:
            self.due = now + self.seconds
        elif self.due <= now:
            self.due = max(now, self.due + self.seconds)
            self.function()


def program(main=None):
    """The class that componentize-py looks for: calls `main`, then delivers events until the host has stopped."""

    class Run:
        def run(self):
            # A line shall be out when it is printed, not when a block is full.
            sys.stdout.reconfigure(line_buffering=True)
            try:
                if main:
                    main()
                while _turn():
                    pass
            except Exception as error:
                traceback.print_exc()
                raise Err(None) from error

    return Run


def _turn():
    """Timers that are due, and one event; False after the last."""
    for timer in list(_timers):
        timer.run(time.monotonic())
    next_timer = min((timer.due for timer in _timers if timer.due is not None), default=None)
    limit = None if next_timer is None else max(0, next_timer - time.monotonic())
    try:
        event = _raw.blocking_next_event(nanoseconds(limit))
    except Err as error:
        return error.value != _raw.EventError.CLOSED
    _deliver(event)
    return True


def _tell(event, *values):
    for function in _functions[event]:
        function(*values)


def _deliver(event):
    match event:
        case _raw.Event_Message(told):
            _deliver_message(Worker(told.worker), told.message)
        case _raw.Event_Listening(told):
            _tell("listening", Worker(told.worker), _address(told.address))
        case _raw.Event_Exit(told):
            worker = Worker(told.worker, told.exited_after_disconnect)
            _tell("exit", worker, *code_and_signal(told.status))
        case _raw.Event_Setup(changed):
            _tell("setup", changed)
        case _raw.Event_Signal(signal):
            _tell("signal", signal.name)
        case _raw.Event_Lost(count):
            _tell("lost", count)
        case _:
            _tell(type(event).__name__.removeprefix("Event_").lower(), Worker(event.value))


def _deliver_message(worker, message):
    value = _decoded(message.body)
    if message.request is None or not _functions["request"]:
        return _tell("message", worker, value)
    body = encode(_functions["request"][-1](worker, value))
    try:
        retry(lambda: _raw.reply(worker.id, message.request, body), worker._room)
    except MessageError:
        pass  # who asked has ended, or waits no longer


def _decoded(body):
    """The value, or the bytes if they are no JSON: a worker's bytes must not end the program."""
    try:
        return json.loads(body)
    except ValueError:
        return body


def _address(address):
    """As `socket` has it: host and port, or a path."""
    if isinstance(address, types.SocketAddress_Ip):
        return address.value.address, address.value.port
    return address.value
