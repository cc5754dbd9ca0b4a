from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.credentials import (
    CredentialProvider,
    StreamingCredentialProvider,
    UsernamePasswordCredentialProvider,
)
from redis.exceptions import AuthenticationError
from redis.utils import str_if_bytes

from redispool import ConnectionPool, InvalidOption, PoolOptions, Redis, credentials

from ..conftest import MakePool
from ..support import Valkey

USER, PASSWORD = "redispool-tester", "pa@ss/wo:rd?+%"


@pytest.fixture
def guarded(own_server: Valkey) -> Valkey:
    """A server that wants `PASSWORD`, and knows `USER` by the same password."""
    with own_server.outside() as client:
        client.acl_setuser(USER, enabled=True, passwords=[f"+{PASSWORD}"], commands=["+@all"])
        client.config_set("requirepass", PASSWORD)
    return own_server


@pytest.fixture
def make_guarded(guarded: Valkey) -> Iterator[Callable[..., ConnectionPool]]:
    """Makes pools for the server that wants a password."""
    pools: list[ConnectionPool] = []

    def make(**options: Any) -> ConnectionPool:
        pools.append(ConnectionPool(host=guarded.host, port=guarded.port, retries=0, **options))
        return pools[-1]

    yield make
    for pool in pools:
        assert pool.close(0) == 0


class Asked(CredentialProvider):
    """Provides the right credentials, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def get_credentials(self) -> tuple[str, str]:
        """Give username and password."""
        self.times += 1
        return USER, PASSWORD


def whoami(pool: ConnectionPool) -> str:
    """Ask the server as whom it knows a connection of `pool`."""
    return str_if_bytes(Redis(connection_pool=pool).acl_whoami())


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of the user's that has credentials in all ways."""
    module = types.ModuleType("vault")
    vars(module).update(
        ask=lambda: PASSWORD,
        pair=lambda: [USER, PASSWORD],
        provider=Asked(),
        Provider=Asked,
        number=5,
    )
    monkeypatch.setitem(sys.modules, "vault", module)
    return module


@pytest.mark.parametrize(
    ("options", "user"),
    [
        ({"password": PASSWORD}, "default"),
        ({"username": USER, "password": PASSWORD}, USER),
        ({"credential_provider": lambda: PASSWORD}, "default"),
        ({"credential_provider": lambda: (PASSWORD,)}, "default"),
        ({"credential_provider": lambda: (USER, PASSWORD)}, USER),
        ({"credential_provider": Asked()}, USER),
        ({"credential_provider": Asked}, USER),
        ({"credential_provider": UsernamePasswordCredentialProvider(USER, PASSWORD)}, USER),
        ({"credential_provider": "vault.ask"}, "default"),
        ({"credential_provider": "vault.pair"}, USER),
        ({"credential_provider": "vault.provider"}, USER),
        ({"credential_provider": "vault.Provider"}, USER),
    ],
    ids=[
        "password", "username and password", "function", "function of one", "function of a pair",
        "object", "class", "redis-py's own", "path of a function", "path of a function of a list",
        "path of an object", "path of a class",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("protocol", [2, 3])
def test_who_connects(
    make_guarded: Callable[..., ConnectionPool], options: dict[str, Any], user: str, protocol: int
) -> None:
    """Credentials may come from options, a function, an object, a class, or the path of any."""
    assert whoami(make_guarded(protocol=protocol, **options)) == user


def test_a_url_with_an_encoded_password_logs_in(guarded: Valkey) -> None:
    """A password that would tear the URL reaches the server whole when it is percent-encoded."""
    url = f"redis://{USER}:pa%40ss%2Fwo%3Ard%3F%2B%25@{guarded.host}:{guarded.port}/0"

    with contextlib.closing(ConnectionPool.from_url(url)) as pool:
        assert whoami(pool) == USER


def test_credentials_are_asked_for_at_each_connect(
    make_guarded: Callable[..., ConnectionPool],
) -> None:
    """A provider is asked when a connection opens: not before, not per command, each time anew."""
    asked = Asked()
    pool = make_guarded(credential_provider=asked)
    assert asked.times == 0

    for times in (1, 2, 3):
        assert whoami(pool) == whoami(pool) == USER
        assert asked.times == times
        pool.recycle()


def test_a_token_that_expires(guarded: Valkey, make_guarded: Callable[..., ConnectionPool]) -> None:
    """After the password has changed, the next connect takes the new one from the provider."""
    tokens = itertools.chain([PASSWORD], itertools.repeat("token-2"))
    pool = make_guarded(credential_provider=lambda: next(tokens))
    assert whoami(pool) == "default"

    with guarded.outside(password=PASSWORD) as client:
        client.config_set("requirepass", "token-2")
        pool.recycle()
        assert whoami(pool) == "default"


@pytest.mark.parametrize(
    "options",
    [{"password": "Zq7"}, {"credential_provider": lambda: ("Zq7", "Zq7")}],
    ids=["password", "provider"],
)
def test_wrong_credentials_are_not_told(
    make_guarded: Callable[..., ConnectionPool], options: dict[str, Any]
) -> None:
    """The server's refusal is redis-py's error, and holds no secret."""
    pool = make_guarded(**options)
    with pytest.raises(AuthenticationError) as caught:
        whoami(pool)

    assert "Zq7" not in f"{caught.value!r} {pool!r} {pool.stats()!r}"


@pytest.mark.parametrize(
    "found", [None, b"Zq7", 5, (), ("a", "b", "Zq7"), ("a", b"Zq7"), {"password": "Zq7"}], ids=repr
)
def test_a_provider_that_gives_something_else(make_pool: MakePool, found: Any) -> None:
    """What is no password and no pair of texts is refused, untold, and costs the pool no place."""
    pool = make_pool(credential_provider=lambda: found, max_connections=1)

    for _ in range(2):
        with pytest.raises(InvalidOption) as caught:
            whoami(pool)
        assert str(caught.value) == (
            "credential_provider: must give a password, or a pair of username and password, "
            f"all texts; it gave {type(found).__name__}"
        )


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nowhere.password", "'nowhere.password' cannot be imported: No module named 'nowhere'"),
        ("vault.missing", "'vault.missing' cannot be imported: module 'vault' has no attribute"),
        ("vault.number", "'vault.number' is neither callable nor has it get_credentials()"),
    ],
)
@pytest.mark.usefixtures("vault")
def test_a_path_that_leads_nowhere(path: str, complaint: str) -> None:
    """A dotted path is followed when the pool is made, and an error says where it ended."""
    with pytest.raises(InvalidOption) as caught:
        ConnectionPool(credential_provider=path)

    assert caught.value.option == "credential_provider"
    assert caught.value.complaint.startswith(complaint)


def test_no_credentials() -> None:
    """Without credentials nothing is sent: no user, no password, no provider."""
    assert credentials.kwargs(PoolOptions()) == {"username": None, "password": None}


class Streaming(StreamingCredentialProvider):
    """Provides new credentials when the test says so; knows one listener, as redis-entraid does."""

    def get_credentials(self) -> tuple[str, str]:
        """Give username and password."""
        return USER, PASSWORD

    def on_next(self, callback: Callable[[Any], None]) -> None:
        """Know whom to tell of new credentials."""
        self.renewed = callback

    def on_error(self, callback: Callable[[Exception], None]) -> None:
        """Know whom to tell that there are none."""
        self.failed = callback

    def is_streaming(self) -> bool:
        """Whether the provider tells of new credentials by itself."""
        return True


def test_streamed_credentials_renew_the_connections(
    make_guarded: Callable[..., ConnectionPool],
) -> None:
    """New credentials reach all pools of a provider: no connection with old ones is lent again."""
    provider = Streaming()
    pools = [make_guarded(credential_provider=provider) for _ in range(2)]
    assert [whoami(pool) for pool in pools] == [USER, USER]

    provider.renewed(object())

    assert [whoami(pool) for pool in pools] == [USER, USER]
    assert [pool.stats().created_total for pool in pools] == [2, 2]


def test_a_provider_that_fails_is_told_of(
    make_guarded: Callable[..., ConnectionPool], caplog: pytest.LogCaptureFixture
) -> None:
    """Where new credentials cannot be had the log says so, and no token."""
    provider = Streaming()
    make_guarded(credential_provider=provider)

    provider.failed(ValueError("Zq7"))

    assert "the credential provider could not renew its token (ValueError)" in caplog.text
    assert "Zq7" not in caplog.text


def test_a_provider_keeps_no_pool_alive() -> None:
    """A provider outlives the pools that it feeds."""
    provider = Streaming()
    pool = weakref.ref(ConnectionPool(credential_provider=provider))
    gc.collect()

    assert pool() is None
    provider.renewed(object())
