"""Serves a WSGI application (PEP 3333): `IncomingHandler = wsgi.handler(app)`."""

import io
import sys
import traceback

from . import _http


def handler(app):
    """The class that componentize-py looks for: its `handle` is called for every request."""

    class IncomingHandler:
        def handle(self, request, response_out):
            _serve(app, request, _http.Response(response_out))

    return IncomingHandler


def _serve(app, request, response):
    head = _http.read_head(request)
    body = _http.RequestBody(request)
    pending = []

    def start_response(status, headers, exc_info=None):
        if exc_info and response.started:
            raise exc_info[1].with_traceback(exc_info[2])
        pending[:] = [(status, headers)]
        return write

    def write(data):
        if not response.started:
            status, headers = pending[0]
            response.start(int(status.split(None, 1)[0]), [(k, v.encode("latin-1")) for k, v in headers])
        response.write(data)

    try:
        chunks = app(_environ(head, body), start_response)
        try:
            for chunk in chunks:
                if chunk:
                    write(chunk)
            write(b"")
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
    except Exception:
        traceback.print_exc()
        if response.started:
            raise  # the host cuts the answer off, so that the client does not take it for a whole one
        response.fail()
    else:
        response.finish()
    finally:
        body.close()


def _environ(head, body):
    name, _, port = head.authority.rpartition(":")
    if not port.isdigit():
        name, port = head.authority, "443" if head.scheme == "https" else "80"
    environ = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        # PEP 3333: bytes disguised as Latin-1 text.
        "PATH_INFO": head.path.encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": head.query,
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": head.authority,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head.scheme,
        "wsgi.input": io.BufferedReader(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for key, value in head.headers:
        key = key.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        text = value.decode("latin-1")
        separator = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = environ[key] + separator + text if key in environ and key != "HTTP_HOST" else text
    return environ
