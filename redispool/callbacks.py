"""Response callbacks: what converts replies. Clients share them until one has its own."""

from __future__ import annotations

from typing import Any

from redis.client import CaseInsensitiveDict


class Callbacks:
    """redis-py's ``response_callbacks``, of which each client has a dict: mixed into clients.

    Filling it takes as long as a command, so clients begin with a dict that they only read.
    """

    _callbacks: Any
    """For reading: perhaps the one of all clients."""
    _callbacks_are_own = False

    @property
    def response_callbacks(self) -> Any:
        """What converts replies, by the names of commands; a change is for this client alone."""
        if not self._callbacks_are_own:
            own: Any = CaseInsensitiveDict({})
            dict.update(own, self._callbacks)  # its keys are in capitals already
            self._callbacks, self._callbacks_are_own = own, True
        return self._callbacks

    @response_callbacks.setter
    def response_callbacks(self, callbacks: Any) -> None:
        self._callbacks, self._callbacks_are_own = callbacks, True

    def share_callbacks(self, callbacks: Any) -> None:
        """Read `callbacks`, which others read too."""
        self._callbacks, self._callbacks_are_own = callbacks, False
