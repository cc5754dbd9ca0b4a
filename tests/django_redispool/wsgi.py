"""The site for gunicorn; whoever forks after its import leaves a connection to the parent."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from django_redispool import redis

application = get_wsgi_application()
redis.set("started", "yes")
