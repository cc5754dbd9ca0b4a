"""The process of one contender: reads the name of a measure, does it, writes the figures."""

from __future__ import annotations

import json
import sys

from .contenders import CONTENDERS, Client
from .measures import MEASURES


def main(name: str, tcp: str, unix: str, seconds: float) -> None:
    """Answer line by line, until the input ends."""
    contender, clients = CONTENDERS[name], dict[str, Client]()
    for line in sys.stdin:
        measure = MEASURES[line.strip()]
        url = unix if measure.unix else tcp
        if url not in clients:
            clients[url] = contender.open(url)
        try:
            figure = measure.run(contender, clients[url], url, seconds)
            answer: object = figure or {}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], float(sys.argv[4]))
