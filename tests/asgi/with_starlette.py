"""An application for load, with Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from redispool import asgi

from .keyed import alive, factory, made, value_of


async def keyed(request: Request) -> PlainTextResponse:
    """The value of a key; the client is a global, which works as well."""
    text = await value_of(factory.async_client(), request.path_params["number"])
    return PlainTextResponse(text)


async def feed(request: Request) -> StreamingResponse:
    """A stream."""
    return StreamingResponse(alive(factory.async_client()))


async def made_here(request: Request) -> PlainTextResponse:
    """How many connections were made."""
    return PlainTextResponse(str(made()))


app = Starlette(
    routes=[
        Route("/keyed-async/{number:int}", keyed),
        Route("/feed", feed),
        Route("/made", made_here),
    ],
    lifespan=asgi.lifespan(factory),
)
app.add_middleware(asgi.ScopeMiddleware)
