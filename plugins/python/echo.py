"""Sends every connection's bytes back to it."""

from host_sdk import net


def echo(connection):
    while data := connection.recv():
        connection.sendall(data)


ConnectionHandler = net.handler(echo)
