"""JSON messages, and waiting for room and for news. Shared by `cluster`, `primary` and `subprocess`."""

import json

from componentize_py_types import Err
from wit_world.imports import messages

from ._wait import first_ready


class MessageError(Exception):
    """Why a message was not sent or received; `reason` is the case of the WIT variant `message-error`."""

    def __init__(self, value):
        self.reason = type(value).__name__.removeprefix("MessageError_")
        super().__init__(self.reason)


def encode(message):
    return json.dumps(message, separators=(",", ":")).encode()


def attempt(action):
    try:
        return action()
    except Err as error:
        if isinstance(error.value, messages.MessageError_WouldBlock):
            raise BlockingIOError("the message queue is not ready") from error
        raise MessageError(error.value) from error


def retry(action, subscribe, wait=True, until=None):
    """Tries until the queue is ready. TimeoutError if the deadline comes first."""
    while True:
        try:
            return attempt(action)
        except BlockingIOError:
            if not wait:
                raise
        if not first_ready([subscribe()], until):
            raise TimeoutError("no message came in time")


def reply_to(request, subscribe):
    """Sends a request and waits for the value that answers it."""
    with retry(request, subscribe) as pending:
        return json.loads(retry(pending.take, pending.subscribe))
