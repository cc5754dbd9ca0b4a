"""The pools of the application, and the client that is imported from here."""

from __future__ import annotations

import os
from pathlib import Path

from redispool import PoolFactory

factory = PoolFactory(
    {
        "default": {
            "URL": os.environ.get("REDIS_URL", "embedded://"),
            "DECODE_RESPONSES": True,
        },
    },
    base_path=Path(__file__).parent,
)
redis = factory.async_client()
