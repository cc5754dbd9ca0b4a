"""The panel for django-debug-toolbar: the commands of a request, and what it held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from debug_toolbar.panels import Panel
from django.template import Context, Engine

from redispool import recording

TEMPLATES = Path(recording.__file__).parent / "templates"


class RedisPanel(Panel):
    """``django_redispool.debug_toolbar.RedisPanel`` in DEBUG_TOOLBAR_PANELS."""

    title = "Redis"
    is_async = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorder = recording.Recorder()

    @property
    def nav_subtitle(self) -> str:
        """How much it was."""
        return str(self.get_stats().get("title", ""))

    @property
    def content(self) -> str:
        """The commands, as HTML."""
        # Not the engine of the project: it may leave out the templates of applications.
        template = Engine(dirs=[str(TEMPLATES)]).get_template("redispool_recording.html")
        return template.render(Context(self.get_stats()))

    def enable_instrumentation(self) -> None:
        """Begin to record."""
        self._recorder.start()

    def disable_instrumentation(self) -> None:
        """End it."""
        self._recorder.stop()

    def generate_stats(self, request: Any, response: Any) -> None:
        """Keep what was found for the toolbar, and its history."""
        self.record_stats(recording.report(self._recorder))

    def generate_server_timing(self, request: Any, response: Any) -> None:
        """Tell the browser how long Redis took."""
        self.record_server_timing(
            "redis", recording.title(self._recorder), self._recorder.seconds * 1000
        )
