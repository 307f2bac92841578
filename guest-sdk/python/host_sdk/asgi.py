"""Serves an ASGI 3 application: `IncomingHandler = asgi.handler(app)`.

The application's event loop runs for one request, on wasi:io's pollables; `asyncio.sleep` and tasks work.
There are no threads: endpoints must be `async def`. Lifespan events are not sent, since an instance of the
plugin may serve a single request.
"""

import asyncio
import traceback

from . import _http
from ._loop import Loop


def handler(app):
    """The class that componentize-py looks for: its `handle` is called for every request."""

    class IncomingHandler:
        def handle(self, request, response_out):
            loop = Loop()
            try:
                loop.run_until_complete(_serve(app, request, _http.Response(response_out)))
            finally:
                loop.close()

    return IncomingHandler


async def _serve(app, request, response):
    head = _http.read_head(request)
    body = _http.RequestBody(request)
    answered = asyncio.get_running_loop().create_future()
    start = None
    received_all = False

    async def receive():
        nonlocal received_all
        if received_all:
            await answered
            return {"type": "http.disconnect"}
        data = body.next_chunk()
        received_all = not data
        return {"type": "http.request", "body": data, "more_body": not received_all}

    async def send(message):
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            if not response.started:
                headers = [(bytes(k).decode("latin-1"), bytes(v)) for k, v in start.get("headers", ())]
                response.start(start["status"], headers)
            response.write(message.get("body", b""))
            if not message.get("more_body", False) and not answered.done():
                response.finish()
                answered.set_result(None)

    try:
        await app(_scope(head), receive, send)
    except Exception:
        traceback.print_exc()
        if response.started:
            raise
        response.fail()
    finally:
        if not answered.done():
            answered.set_result(None)
        body.close()


def _scope(head):
    name, _, port = head.authority.rpartition(":")
    headers = [(key.encode("latin-1"), value) for key, value in head.headers]
    if not any(key == b"host" for key, _ in headers):
        headers.insert(0, (b"host", head.authority.encode("latin-1", "replace")))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": head.method,
        "scheme": head.scheme,
        "path": head.path,
        "raw_path": head.raw_path,
        "query_string": head.query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": (name, int(port)) if port.isdigit() else (head.authority, 80),
        "state": {},
    }
