"""Kinds of option values: what a value may be, and how it is read from the text of a URL."""

from __future__ import annotations

import os
import re
import ssl
from typing import Any, Protocol

from redis.retry import AbstractRetry

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})
# What poll() takes: 2**31 milliseconds, more than 24 days. Beyond it, a wait is an OverflowError.
LONGEST = 2_147_483


class Kind(Protocol):
    """What the values of an option have in common."""

    def complaint(self, value: Any) -> str:
        """What the value must be, where it is not; empty where it may stand."""

    def parse(self, text: str) -> Any:
        """The value that `text` of a URL means; ValueError, with what it must be, for none."""


class Whole:
    """A whole number between two bounds."""

    def __init__(self, *, minimum: int, maximum: int | None = None) -> None:
        self.minimum, self.maximum = minimum, maximum

    def complaint(self, value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and self._within(value):
            return ""
        return f"must be a whole number {self._bounds()}"

    def parse(self, text: str) -> int:
        # int() alone would take " 1", "1_000" and Arabic-Indic digits; and not 5,000 digits.
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError(f"must be a whole number {self._bounds()}")
        return int(text)

    def _within(self, value: int) -> bool:
        return value >= self.minimum and (self.maximum is None or value <= self.maximum)

    def _bounds(self) -> str:
        if self.maximum is None:
            return f"of at least {self.minimum}"
        return f"from {self.minimum} to {self.maximum}"


class Seconds:
    """A time in seconds; None, where it is allowed, means no limit."""

    def __init__(self, *, optional: bool = False, positive: bool = False) -> None:
        self.optional, self.positive = optional, positive

    def complaint(self, value: Any) -> str:
        if value is None and self.optional:
            return ""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN compares as false with everything, and so is refused too.
        if number and 0 <= value <= LONGEST and not (self.positive and value == 0):
            return ""
        return self._expected()

    def parse(self, text: str) -> float | None:
        if self.optional and text.lower() == "none":
            return None
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", text):
            raise ValueError(self._expected())
        return float(text)

    def _expected(self) -> str:
        least = "more than 0" if self.positive else "0 or more"
        limit = ", or None for no limit" if self.optional else ""
        return f"must be seconds, {least} and at most {LONGEST}{limit}"


class Flag:
    """True or False, never a text that Python would take for true."""

    def complaint(self, value: Any) -> str:
        return "" if isinstance(value, bool) else "must be True or False"

    def parse(self, text: str) -> bool:
        if text.lower() in TRUE | FALSE:
            return text.lower() in TRUE
        raise ValueError("must be true or false")


class Text:
    """A text that says something."""

    def __init__(self, *, optional: bool = False) -> None:
        self.optional = optional

    def complaint(self, value: Any) -> str:
        if (value is None and self.optional) or (isinstance(value, str) and value):
            return ""
        return "must be a text that is not empty"

    def parse(self, text: str) -> str:
        return text


class ExistingPath(Text):
    """The path of a file, or of a directory, that is there and may be read."""

    def __init__(self, *, directory: bool = False) -> None:
        super().__init__()
        self.directory = directory

    def complaint(self, value: Any) -> str:
        is_there = os.path.isdir if self.directory else os.path.isfile
        if isinstance(value, str | os.PathLike) and is_there(value) and os.access(value, os.R_OK):
            return ""
        return f"must be the path of a {'directory' if self.directory else 'file'} that can be read"


class Host(Text):
    """A host name or an address, and nothing around it."""

    def complaint(self, value: Any) -> str:
        if isinstance(value, str) and (re.search(r"[\s/@\[\]]", value) or value.count(":") == 1):
            return "must be a host name or an address alone; a URL goes in URL, a port in PORT"
        return super().complaint(value)


class ClientName(Text):
    """A name as ``CLIENT SETNAME`` takes it: printable, no spaces."""

    def __init__(self) -> None:
        super().__init__(optional=True)

    def complaint(self, value: Any) -> str:
        if isinstance(value, str) and not all("!" <= letter <= "~" for letter in value):
            return "must be a text without spaces and of printable ASCII letters"
        return super().complaint(value)


class Choice:
    """One of a few values."""

    def __init__(self, *values: str | int) -> None:
        self.values = values

    def complaint(self, value: Any) -> str:
        # 2.0 == 2, but nobody means protocol 2 by it; so the types are compared too.
        known = any(isinstance(value, type(v)) and value == v for v in self.values)
        return "" if known else self._expected()

    def parse(self, text: str) -> str | int:
        for value in self.values:
            if text == str(value):
                return value
        raise ValueError(self._expected())

    def _expected(self) -> str:
        return "must be " + " or ".join(repr(value) for value in self.values)


class HowToRetry(Choice):
    """One of our ways to try again, or a ``Retry`` of redis-py's, which then decides alone."""

    def __init__(self) -> None:
        super().__init__("safe", "always", "never")

    def complaint(self, value: Any) -> str:
        expected = "" if isinstance(value, AbstractRetry) else super().complaint(value)
        return f"{expected}, or a redis.retry.Retry" if expected else ""


class Certificates(Choice):
    """Whether the server's certificate is asked for: in words, or as `ssl` names it."""

    def __init__(self) -> None:
        super().__init__("none", "optional", "required")

    def complaint(self, value: Any) -> str:
        known = value is None or isinstance(value, ssl.VerifyMode)
        return "" if known else super().complaint(value)


class Provider(Text):
    """Where credentials come from: an object, a callable, or the dotted path of either."""

    def complaint(self, value: Any) -> str:
        if value is None or callable(value) or hasattr(value, "get_credentials"):
            return ""
        parts = value.split(".") if isinstance(value, str) else []
        if len(parts) > 1 and all(part.isidentifier() for part in parts):
            return ""
        return "must be an object with get_credentials(), a callable, or the dotted path of one"


class Made:
    """An object of a class, or None."""

    def __init__(self, of: type[Any]) -> None:
        self.of = of

    def complaint(self, value: Any) -> str:
        if value is None or isinstance(value, self.of):
            return ""
        return f"must be a {self.of.__module__}.{self.of.__name__}"

    def parse(self, text: str) -> Any:
        raise ValueError("cannot be given in a URL; put it beside the URL")


class Anything:
    """A value that only redis-py can judge."""

    def complaint(self, value: Any) -> str:
        return ""

    def parse(self, text: str) -> Any:
        raise ValueError("cannot be given in a URL; put it beside the URL")
