"""The panel for Flask-DebugToolbar: the commands of a request, and what it held."""

from __future__ import annotations

from typing import Any

from flask import Flask, g
from flask.signals import request_tearing_down
from flask_debugtoolbar.panels import DebugPanel
from jinja2 import Environment, PackageLoader

from redispool import recording

RECORDER = "_redispool_recorder"


class RedisPanel(DebugPanel):
    """``flask_redispool.debug_toolbar.RedisPanel`` in DEBUG_TB_PANELS."""

    name = "Redispool"
    has_content = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorder = recording.Recorder()

    @classmethod
    def init_app(cls, app: Flask) -> None:
        """See to it that recording ends where a view raises, of which panels are not told."""
        request_tearing_down.connect(end_recording, app)

    def process_request(self, request: Any) -> None:
        """Begin to record."""
        setattr(g, RECORDER, self._recorder)
        self._recorder.start()

    def process_response(self, request: Any, response: Any) -> None:
        """End it."""
        self._recorder.stop()

    def nav_title(self) -> str:
        """The name in the side bar."""
        return "Redis"

    def nav_subtitle(self) -> str:
        """How much it was."""
        return recording.title(self._recorder)

    def title(self) -> str:
        """The name above the commands."""
        return "Redis"

    def url(self) -> str:
        """Nowhere: the content is in the page."""
        return ""

    def content(self) -> str:
        """The commands, as HTML."""
        # Not the toolbar's environment, which knows its own templates only.
        environment = Environment(autoescape=True, loader=PackageLoader("redispool.recording"))
        template = environment.get_template("redispool_recording.html")
        return template.render(recording.report(self._recorder))


def end_recording(app: Flask, **_: object) -> None:
    """End the recording of a request."""
    recorder: recording.Recorder | None = g.pop(RECORDER, None)
    if recorder is not None:
        recorder.stop()
