"""Starts the programs that the operator granted, with what the client posts as their input.

    /run/NAME/ARGUMENT/…    runs a program to its end, and shows what it printed and how it ended
    /lines/NAME/ARGUMENT/…  gives a running program one line at a time, and waits for its answer to each
    /ask/NAME/ARGUMENT/…    sends a WebAssembly program the JSON of each line, and waits for its reply to each
    /tell/NAME/ARGUMENT/…   the same with messages that are no requests
"""

import json

from host_sdk import subprocess, wsgi
from host_sdk.subprocess import PIPE


def run(command, body):
    result = subprocess.run(command, input=body, capture_output=True, timeout=1)
    yield f"{command[0]}: {result.returncode}\n".encode()
    yield result.stdout + result.stderr


def lines(command, body):
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as child:
        for line in body.splitlines(keepends=True):
            child.stdin.write(line)
            child.stdin.flush()
            yield child.stdout.readline()


def ask(command, body):
    with subprocess.Popen(command, ipc=True) as child:
        for line in body.splitlines():
            yield json.dumps(child.request(json.loads(line))).encode() + b"\n"


def tell(command, body):
    with subprocess.Popen(command, ipc=True) as child:
        for line in body.splitlines():
            child.send(json.loads(line))
            yield json.dumps(child.receive(timeout=1)).encode() + b"\n"


ROUTES = {"run": run, "lines": lines, "ask": ask, "tell": tell}


def app(environ, start_response):
    route, *command = environ["PATH_INFO"].strip("/").split("/")
    if route not in ROUTES or not command:
        start_response("404 Not Found", [("content-type", "text/plain")])
        return [f"there is: {', '.join(subprocess.programs())}\n".encode()]
    status, answer = "200 OK", []
    try:
        answer = list(ROUTES[route](command, environ["wsgi.input"].read()))
    except (OSError, ValueError, subprocess.SubprocessError, subprocess.MessageError) as error:
        status, answer = "500 Internal Server Error", [f"{type(error).__name__}: {error}\n".encode()]
    start_response(status, [("content-type", "text/plain")])
    return answer


IncomingHandler = wsgi.handler(app)
