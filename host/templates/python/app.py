"""Answers every request. `app` may as well be a Flask application, or with `asgi` one of Starlette."""

from host_sdk import wsgi


def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"hello from {{name}}, {environ['PATH_INFO']}\n".encode()]


IncomingHandler = wsgi.handler(app)
