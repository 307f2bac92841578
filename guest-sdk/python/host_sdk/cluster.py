"""Messages to and from the primary program: Node's `process.send` over `host:cluster/ipc`.

Messages are JSON here, as in Node; `send_bytes` and `receive_bytes` leave them alone. With `wait=True` (the
default) a full or empty queue is waited for; otherwise it raises BlockingIOError. In a program that was started
with `ipc=True` the other side is who started it.
"""

import json

from wit_world.imports import ipc

from ._messages import MessageError, attempt, encode, reply_to, retry
from ._wait import nanoseconds

connected = ipc.connected
disconnect = ipc.disconnect


def send(message, wait=True):
    """Sends a value that JSON can say."""
    send_bytes(encode(message), wait)


def receive(wait=True):
    """The next message's value."""
    return json.loads(receive_bytes(wait).body)


def send_bytes(body, wait=True):
    attempt(lambda: ipc.blocking_send(body) if wait else ipc.send(body))


def receive_bytes(wait=True):
    """The next message: `body`, and `request` if the sender waits for `reply(request, value)`."""
    return attempt(lambda: ipc.blocking_receive(None) if wait else ipc.receive())


def reply(request, message, wait=True):
    body = encode(message)
    retry(lambda: ipc.reply(request, body), ipc.subscribe_send, wait)


def request(message, timeout=None):
    """Sends a message and waits for its reply; the time-out is in seconds."""
    body = encode(message)
    return reply_to(lambda: ipc.request(body, nanoseconds(timeout)), ipc.subscribe_send)
