"""The end of a program whose pool for asyncio is in use."""

from __future__ import annotations

import pytest

from tests.conformance.programs import Program
from tests.support import Valkey

SITUATIONS = [
    "once",
    "three loops",
    "many",
    "pending",
    "leaving",
    "holding",
    "cycle",
    "daemon",
]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_program_ends_without_a_word(flushed: Valkey, situation: str) -> None:
    """However a program ends, the interpreter prints nothing, with all its checks switched on."""
    with Program("async_exits", flushed.port, situation) as program:
        program.finish()

    assert (program.code, program.output, program.errors) == (0, "", "")
