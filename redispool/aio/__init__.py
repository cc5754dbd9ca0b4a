"""The pool and the client for asyncio: connections that belong to no event loop."""
