"""Answers every request with `hello world`."""

from host_sdk import wsgi


def app(environ, start_response):
    body = b"hello world\n"
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


IncomingHandler = wsgi.handler(app)
