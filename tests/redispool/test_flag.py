from __future__ import annotations

import threading

from redispool.flag import Flag
from tests.support import eventually


def test_setting_it_wakes_all_who_wait() -> None:
    """However many threads wait: each goes on."""
    flag, woken = Flag(), []
    for _ in range(3):
        threading.Thread(target=lambda: woken.append(flag.wait(60.0)), daemon=True).start()
    eventually(lambda: len(flag.sleepers) == 3)

    flag.set()

    assert eventually(lambda: len(woken) == 3 and woken) == [True] * 3


def test_who_comes_late_does_not_wait() -> None:
    """What is set stays set until it is cleared."""
    flag = Flag()
    flag.set()
    assert flag.is_set()
    assert flag.wait(60.0)

    flag.clear()

    assert not flag.is_set()
    assert not flag.wait(0)
