"""Messages to and from the primary program: Node's `process.send` over `host:cluster/ipc`.

Messages are JSON here, as in Node; `send_bytes` and `receive_bytes` leave them alone. With `wait=True` (the
default) a full or empty queue is waited for; otherwise it raises BlockingIOError.
"""

import json

from componentize_py_types import Err
from wit_world.imports import ipc, messages

connected = ipc.connected
disconnect = ipc.disconnect


class MessageError(Exception):
    """Why a message was not sent or received; `reason` is the case of the WIT variant `message-error`."""

    def __init__(self, value):
        self.reason = type(value).__name__.removeprefix("MessageError_")
        super().__init__(self.reason)


def send(message, wait=True):
    """Sends a value that JSON can say."""
    send_bytes(json.dumps(message, separators=(",", ":")).encode(), wait)


def receive(wait=True):
    """The next message's value."""
    return json.loads(receive_bytes(wait).body)


def send_bytes(body, wait=True):
    _attempt(lambda: ipc.blocking_send(body) if wait else ipc.send(body))


def receive_bytes(wait=True):
    """The next message: `body`, and `request` if the sender waits for `reply(request, value)`."""
    return _attempt(lambda: ipc.blocking_receive(None) if wait else ipc.receive())


def reply(request, message, wait=True):
    body = json.dumps(message, separators=(",", ":")).encode()
    _retry(lambda: ipc.reply(request, body), ipc.subscribe_send, wait)


def request(message, timeout=None):
    """Sends a message and waits for its reply; the time-out is in seconds."""
    body = json.dumps(message, separators=(",", ":")).encode()
    nanoseconds = None if timeout is None else int(timeout * 1e9)
    with _retry(lambda: ipc.request(body, nanoseconds), ipc.subscribe_send, True) as pending:
        return json.loads(_retry(pending.take, pending.subscribe, True))


def _attempt(action):
    try:
        return action()
    except Err as error:
        if isinstance(error.value, messages.MessageError_WouldBlock):
            raise BlockingIOError("the message queue is not ready") from error
        raise MessageError(error.value) from error


def _retry(action, subscribe, wait):
    while True:
        try:
            return _attempt(action)
        except BlockingIOError:
            if not wait:
                raise
        with subscribe() as pollable:
            pollable.block()
