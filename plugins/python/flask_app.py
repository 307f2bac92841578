"""A Flask application, as it is."""

from flask import Flask, request

from host_sdk import wsgi

app = Flask(__name__)


@app.get("/")
def index():
    return "hello from Flask\n"


@app.get("/users/<name>")
def user(name):
    return {"user": name, "agent": request.headers.get("user-agent")}


@app.post("/echo")
def echo():
    return request.get_data()


IncomingHandler = wsgi.handler(app)
