from __future__ import annotations

from collections import Counter

import pytest

from redispool import PoolOptions
from redispool.policy import TRUSTED_FOR, Check, Policy

LONG_AGO = 0.0
POLICY = Policy(health_check_interval=30.0, max_idle=200.0, max_lifetime=3600.0, retries=3)


def test_the_limits_come_from_the_options() -> None:
    """Each limit is the option of the same name."""
    options = PoolOptions(health_check_interval=1.0, max_idle=2.0, max_lifetime=3.0, retries=4)

    policy = Policy.of(options)

    assert (policy.health_check_interval, policy.max_idle, policy.max_lifetime) == (1.0, 2.0, 3.0)
    assert policy.retries == 4


def test_none_and_zero_switch_off() -> None:
    """A limit that is None, and a health check interval of 0, never come into effect."""
    policy = Policy.of(PoolOptions(health_check_interval=0.0, max_idle=None, max_lifetime=None))
    much_later = 1e12

    assert policy.expires_at(0.0) == float("inf")
    assert not policy.idle_too_long(0.0, much_later)
    assert policy.check(0.0, much_later, LONG_AGO) is Check.LOOK


def test_never_means_that_dialling_is_not_tried_again_either() -> None:
    """With ``retry="never"`` there is one try, whatever ``retries`` says."""
    assert Policy.of(PoolOptions(retry="never", retries=5)).pause(0) is None


@pytest.mark.parametrize(
    ("idle_for", "expected"),
    [
        (0.0, Check.NONE),
        (TRUSTED_FOR - 0.01, Check.NONE),
        (TRUSTED_FOR, Check.LOOK),
        (29.9, Check.LOOK),
        (30.0, Check.PING),
        (1000.0, Check.PING),
    ],
)
def test_the_longer_idle_the_closer_the_look(idle_for: float, expected: Check) -> None:
    """Just used: nothing; idle for a while: a look at the socket; for long: the server is asked."""
    assert POLICY.check(1000.0, 1000.0 + idle_for, LONG_AGO) is expected


def test_one_dead_connection_makes_all_of_its_time_suspect() -> None:
    """What was last used before a connection was found dead is looked at; later ones are not."""
    found_dead = 1000.0

    assert POLICY.check(999.9, 1000.1, found_dead) is Check.LOOK
    assert POLICY.check(1000.1, 1000.2, found_dead) is Check.NONE


def test_idle_too_long() -> None:
    """``max_idle`` is the first moment that is too late."""
    assert not POLICY.idle_too_long(0.0, 199.9)
    assert POLICY.idle_too_long(0.0, 200.0)


def test_lifetimes_are_spread() -> None:
    """Connections born together expire within a tenth of ``max_lifetime``, and not together."""
    ends = [POLICY.expires_at(100.0) for _ in range(200)]

    assert all(100.0 + 3240.0 <= end <= 100.0 + 3960.0 for end in ends)
    assert max(ends) - min(ends) > 360.0


def test_pauses_grow_and_are_spread() -> None:
    """After each failed try the pause may be twice as long, up to a limit, and is drawn by lot."""
    policy = Policy(30.0, 200.0, 3600.0, retries=10, backoff_first=0.02, backoff_most=0.1)
    for attempt, most in enumerate([0.02, 0.04, 0.08, 0.1, 0.1]):
        pauses = [policy.pause(attempt) or 0.0 for _ in range(200)]

        assert 0.8 * most < max(pauses) <= most
        assert min(pauses) < 0.2 * most


def test_the_tries_come_to_an_end() -> None:
    """After ``retries`` more tries there is no other."""
    assert [POLICY.pause(attempt) is None for attempt in range(5)] == [
        False,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("max_idle", "expected"), [(200.0, 20.0), (0.1, 0.05), (1e6, 30.0), (float("inf"), 30.0)]
)
def test_how_often_idle_connections_are_swept(max_idle: float, expected: float) -> None:
    """Ten times within ``max_idle``, but neither all the time nor hardly ever."""
    assert Policy(30.0, max_idle, 3600.0, retries=3).sweep_interval() == expected


def test_dials_of_a_server_that_is_away_are_spread() -> None:
    """A fleet that lost its server at one moment does not come back at one moment either."""
    drawn = [POLICY.pause_before_dial(20) for _ in range(5000)]
    buckets = Counter(int(pause / 0.05) for pause in drawn)

    assert max(buckets.values()) < 0.1 * len(drawn)
    assert max(drawn) < 0.9


def test_the_first_pause_before_a_dial_is_short() -> None:
    """A blip costs little: the pauses begin at 50 ms and double."""
    for failures in range(4):
        most = 0.05 * 2**failures
        drawn = [POLICY.pause_before_dial(failures) for _ in range(300)]
        assert 0.8 * most < max(drawn) <= most
