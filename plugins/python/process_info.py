"""Answers with what the host tells about the process, as JSON."""

import dataclasses
import json

from host_sdk import process, wsgi


def info():
    identity = process.identity()
    return {
        "role": identity.role.name.lower(),
        "pid": identity.pid,
        "ppid": identity.primary_pid,
        "worker": identity.worker,
        "generation": identity.generation,
        "title": process.title(),
        "versions": process.versions(),
        "config": process.config(),
        "arch": process.arch(),
        "platform": process.platform(),
        "execPath": process.exec_path(),
        "execArgv": process.exec_arguments(),
        "argv": process.arguments(),
        "uptime": process.uptime(),
        "memoryUsage": dataclasses.asdict(process.memory_usage()),
        "cpuUsage": dataclasses.asdict(process.cpu_usage()),
        "credentials": dataclasses.asdict(process.credentials()),
    }


def app(environ, start_response):
    body = json.dumps(info(), indent=2).encode() + b"\n"
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


IncomingHandler = wsgi.handler(app)
