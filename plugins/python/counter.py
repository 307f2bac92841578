"""The worker of the Counter program: tells the primary program about every request."""

from host_sdk import cluster, wsgi


def app(environ, start_response):
    cluster.send({"cmd": "notifyRequest"})
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"hello world\n"]


IncomingHandler = wsgi.handler(app)
