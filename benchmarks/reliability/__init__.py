"""Reliability: what redispool promises, measured beside redis-py's pools on one harness."""
