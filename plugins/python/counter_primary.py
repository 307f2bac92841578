"""The primary of the Counter program: prints how many requests all workers have answered, each second."""

from host_sdk import primary

requests = 0


@primary.on("message")
def count(worker, message):
    global requests
    if message == {"cmd": "notifyRequest"}:
        requests += 1


@primary.every(1)
def tell():
    print(f"numReq = {requests}")


Run = primary.program()
