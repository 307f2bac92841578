"""A Starlette application, as it is. Endpoints are `async def`: there are no threads for the other kind."""

import asyncio

from host_sdk import asgi
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def index(request):
    return PlainTextResponse("hello from Starlette\n")


async def user(request):
    return JSONResponse({"user": request.path_params["name"], "agent": request.headers.get("user-agent")})


async def echo(request):
    return PlainTextResponse(await request.body())


async def ticks(request):
    async def lines():
        for number in range(3):
            yield f"{number}\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(lines(), media_type="text/plain")


app = Starlette(
    routes=[
        Route("/", index),
        Route("/users/{name}", user),
        Route("/echo", echo, methods=["POST"]),
        Route("/ticks", ticks),
    ]
)
IncomingHandler = asgi.handler(app)
