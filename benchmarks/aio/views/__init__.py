"""Async views: the applications that the load of requests is for, under WSGI and ASGI."""
