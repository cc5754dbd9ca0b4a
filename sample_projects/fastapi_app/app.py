"""The break room, with FastAPI: a small application on a pooled Redis."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Literal

import anyio
import store
from fastapi import Depends, FastAPI, Form, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, Field, StringConstraints
from starlette.middleware.sessions import SessionMiddleware

from pools import factory
from redispool import AsyncRedis, asgi

HERE = Path(__file__).parent

app = FastAPI(title="The break room", lifespan=asgi.lifespan(factory))
app.add_middleware(SessionMiddleware, os.environ.get("SECRET_KEY", "only for development"))
app.add_middleware(asgi.ScopeMiddleware)
app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
templates = Jinja2Templates(HERE / "templates")

Redis = Annotated[AsyncRedis, Depends(asgi.async_client(factory))]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class PointsForm(BaseModel):
    """Points for the leaderboard."""

    name: Name
    points: Annotated[int, Field(ge=1, le=100)]


class VoteForm(BaseModel):
    """A vote for one of the choices."""

    name: Name
    choice: Literal[store.CHOICES]


class PostForm(BaseModel):
    """A post for the feed."""

    name: Name
    text: Text


@app.get("/")
async def index(request: Request) -> HTMLResponse:
    name = request.session.get("name", "")
    context = {
        "name": name,
        "visits": await store.count_visit(),
        "leaderboard": await store.leaderboard(name),
        "tallies": await store.tallies(),
        "posts": await store.latest_posts(),
        "process": os.getpid(),
        "messages": request.session.pop("messages", []),
    }
    return templates.TemplateResponse(request, "index.html", context)


@app.post("/points")
async def add_points(request: Request, form: Annotated[PointsForm, Form()]) -> RedirectResponse:
    total = await store.add_points(form.name, form.points)
    return back_to_the_page(request, form.name, f"{form.name} has washed {total} cups.")


@app.post("/votes")
async def vote(request: Request, form: Annotated[VoteForm, Form()]) -> RedirectResponse:
    if await store.vote(form.name, form.choice):
        message = f"Counted: {form.name} votes for {form.choice}."
    else:
        message = f"Not counted: {form.name} has voted before."
    return back_to_the_page(request, form.name, message)


@app.post("/posts")
async def publish(request: Request, form: Annotated[PostForm, Form()]) -> RedirectResponse:
    await store.publish(form.name, form.text)
    return back_to_the_page(request, form.name)


@app.get("/feed")
async def feed() -> StreamingResponse:
    # When the browser has left, Starlette cancels the stream, and its subscription ends with it.
    return StreamingResponse(
        store.feed(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@app.websocket("/feed")
async def feed_by_websocket(websocket: WebSocket) -> None:
    """The same feed, for browsers that ask with ``new WebSocket(…)``: each post is a message."""
    await websocket.accept()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_posts, websocket)
        await wait_until_left(websocket)
        tasks.cancel_scope.cancel()


@app.get("/keyed/{number}", response_class=PlainTextResponse)
async def keyed(number: int) -> str:
    """For load tests: the answer names the number that was asked for."""
    return await store.keyed(number)


@app.get("/healthz", response_class=PlainTextResponse, include_in_schema=False)
async def healthz(redis: Redis) -> str:
    """For whoever watches over the processes: whether this one reaches its Redis."""
    await redis.ping()
    return "ok"


@app.exception_handler(RequestValidationError)
async def refused(request: Request, error: RequestValidationError) -> PlainTextResponse:
    """What was wrong in the form, in plain text."""
    lines = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return PlainTextResponse("\n".join(lines), 400)


def back_to_the_page(request: Request, name: str, message: str = "") -> RedirectResponse:
    """The answer to a form; the name in it is kept in the session for the next form."""
    request.session["name"] = name
    if message:
        request.session["messages"] = [*request.session.get("messages", []), message]
    return RedirectResponse(request.url_for("index").path, 303)


async def send_posts(websocket: WebSocket) -> None:
    """Send each post as it comes."""
    async with contextlib.aclosing(store.feed()) as events:
        async for event in events:
            if event.startswith("data: "):
                await websocket.send_text(event.removeprefix("data: ").strip())


async def wait_until_left(websocket: WebSocket) -> None:
    """Wait until the browser has closed the socket; what it says meanwhile is not listened to."""
    async for _ in websocket.iter_text():
        pass
