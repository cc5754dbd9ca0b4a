"""redis-py's own tests, with our classes in place of redis-py's: ``python -m tests.redis_py``."""
