"""The process of one contender: reads the name of a measure, does it, writes the figures."""

from __future__ import annotations

import json
import os
import sys

from . import values
from .clients import Client
from .contenders import CONTENDERS
from .measures import COMMANDS

READY = {"ready": True}
"""The first answer: what is imported and connected later would disturb whoever is timed."""


def main(name: str, tcp: str, unix: str, seconds: float) -> None:
    """Answer line by line, until the input ends."""
    # Some libraries log to the standard output.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    contender, clients = CONTENDERS[name], {tcp: opened(name, tcp)}
    print(json.dumps(READY), file=answers, flush=True)
    for line in sys.stdin:
        measure = COMMANDS[line.strip()]
        url = unix if measure.unix else tcp
        if url not in clients:
            clients[url] = opened(name, url)
        try:
            figure = measure.run(contender, clients[url], url, seconds / measure.turns)
            answer: object = figure or {}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def opened(name: str, url: str) -> Client:
    """A client that gives the right answers; whoever does not is not timed."""
    client = CONTENDERS[name].open(url)
    for size in values.SIZES.values():
        assert client.get(size)() == values.value(size)
        assert client.set(size)() in (True, b"OK", "OK")
    small = values.value(10)
    for replies in (client.mget(100)(), client.pipeline(1000)()):
        assert set(replies) == {small}, replies
    assert len(client.mget(100)()) == 100
    assert len(client.pipeline(1000)()) == 1000
    assert len(client.hgetall()()) in (100, 200)  # the bare socket gives what comes
    return client


if __name__ == "__main__":
    main(*sys.argv[1:4], float(sys.argv[4]))
