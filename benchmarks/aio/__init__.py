"""asyncio: what a command costs on event loops that live long, that end at once, and in views."""
