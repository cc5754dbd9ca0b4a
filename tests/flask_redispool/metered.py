"""An application that answers probes, with the metrics of all its processes."""

from __future__ import annotations

import os

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from flask_redispool import RedisPool, health, redis
from redispool.prometheus import HostCollector

app = Flask(__name__)
RedisPool(app)
app.register_blueprint(health.blueprint("/ready"))

registry = CollectorRegistry()
registry.register(HostCollector(app.extensions["redispool"]))


@app.get("/metrics")
def metrics() -> Response:
    """What Prometheus scrapes."""
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@app.get("/pid")
def pid() -> str:
    """Send a command; say which process did."""
    redis.incr("visits")
    return str(os.getpid())
