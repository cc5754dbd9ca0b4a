from __future__ import annotations

import dataclasses
import ssl
from typing import Any

import pytest
import redis.connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from redispool import ConnectionPool, InvalidOption, PoolOptions
from redispool.foreign import PASSED_ON, REFUSED, SYNONYMS, TRANSPORTS, taken_by
from redispool.options import kind_of, option_names

DEFAULTS = {
    "url": None,
    "host": "localhost",
    "port": 6379,
    "db": 0,
    "username": None,
    "password": None,
    "path": None,
    "ssl": False,
    "credential_provider": None,
    "max_connections": 50,
    "timeout": 5.0,
    "max_waiting": 0,
    "multiplex": False,
    "min_idle": 0,
    "max_idle": 200.0,
    "max_lifetime": 3600.0,
    "health_check_interval": 30.0,
    "socket_timeout": 5.0,
    "socket_connect_timeout": 2.0,
    "retry": "safe",
    "retries": 3,
    "protocol": 2,
    "decode_responses": False,
    "cache": None,
    "cache_config": None,
    "leak_threshold": 60.0,
    "max_pubsub": 100,
    "client_name": None,
}

SAMPLES: dict[str, Any] = dict.fromkeys(PASSED_ON, "x") | {
    "command_packer": redis.connection.PythonRespSerializer(6000, str.encode),
    "driver_info": None,
    "encoding": "latin-1",
    "encoding_errors": "replace",
    "legacy_responses": True,
    "parser_class": redis.connection.DefaultParser,
    "redis_connect_func": print,
    "socket_keepalive": True,
    "socket_keepalive_options": {},
    "socket_read_size": 4096,
    "socket_type": 0,
    "ssl_cert_reqs": "required",
    "ssl_check_hostname": True,
    "ssl_exclude_verify_flags": [ssl.VerifyFlags.VERIFY_X509_STRICT],
    "ssl_include_verify_flags": [ssl.VerifyFlags.VERIFY_X509_STRICT],
    "ssl_min_version": ssl.TLSVersion.TLSv1_3,
    "ssl_ca_certs": __file__,
    "ssl_ca_path": "/",
    "ssl_certfile": __file__,
    "ssl_keyfile": __file__,
    "ssl_ocsp_context": None,
    "ssl_validate_ocsp": False,
    "ssl_validate_ocsp_stapled": False,
}
# What redis-py's classes and pools tell each other; nobody sets them.
INTERNAL = {
    "self", "args", "kwargs", "himport_registry", "maint_notifications_pool_handler",
    "maintenance_notification_hash", "maintenance_state", "orig_host_address",
    "orig_socket_connect_timeout", "orig_socket_timeout",
    "oss_cluster_maint_notifications_handler", "parser",
}  # fmt: skip

ADDRESSES: dict[str, dict[str, Any]] = {
    "tcp": {"host": "h"},
    "tls": {"host": "h", "ssl": True},
    "unix": {"path": "/run/redis.sock"},
    "embedded": {"url": "embedded://"},
}


def refusal(**options: Any) -> str:
    """Give what is said of options that must be refused."""
    with pytest.raises(InvalidOption) as caught:
        PoolOptions(**options)
    return str(caught.value)


def test_defaults() -> None:
    """The defaults are those that the documentation promises."""
    assert PoolOptions().masked() == DEFAULTS


def test_every_option_of_redis_py_is_spoken_for() -> None:
    """Each argument of redis-py's connections is an option, passes through, or is refused."""
    theirs = set().union(*(taken_by(transport) for transport in TRANSPORTS))

    assert theirs - INTERNAL <= {*option_names(), *REFUSED}
    assert not set(REFUSED) & set(option_names())
    assert set(SYNONYMS.values()) <= set(option_names())


@pytest.mark.parametrize("transport", ADDRESSES)
@pytest.mark.parametrize("name", PASSED_ON)
def test_an_option_of_redis_py_works_or_is_refused(transport: str, name: str) -> None:
    """What redis-py does not take for a transport is refused before a connect trips over it."""
    options = {**ADDRESSES[transport], name: SAMPLES[name]}

    if name in taken_by(transport):
        ConnectionPool(**options).make_connection()
    else:
        with pytest.raises(InvalidOption, match=rf"^{name}: (needs TLS|is no option of redis-py)"):
            ConnectionPool(**options)


@pytest.mark.parametrize(
    ("options", "transport", "server"),
    [
        ({}, "tcp", "localhost:6379/0"),
        ({"url": "rediss://u:p@h:1/2"}, "tls", "h:1/2"),
        ({"host": "::1", "ssl": True}, "tls", "[::1]:6379/0"),
        ({"path": "/run/a.sock", "db": 3}, "unix", "/run/a.sock/3"),
        ({"url": "unix:///run/a.sock"}, "unix", "/run/a.sock/0"),
        ({"url": "EMBEDDED://"}, "embedded", "embedded/0"),
        ({"url": "embedded:///srv/data"}, "embedded", "embedded /srv/data/0"),
        ({"url": "embedded://", "path": "/srv/data"}, "embedded", "embedded /srv/data/0"),
    ],
    ids=str,
)
def test_where_the_server_is(options: dict[str, Any], transport: str, server: str) -> None:
    """The transport follows from the URL or the parts; the server is named without credentials."""
    found = PoolOptions(**options)

    assert (found.transport, found.server) == (transport, server)


def test_the_url_fills_the_parts() -> None:
    """The parts of the URL are options like any others, redis-py's own included."""
    options = PoolOptions(url="rediss://u:p@h:7000/3?timeout=2&ssl_cert_reqs=none", max_idle=9)

    assert (options.host, options.port, options.db, options.ssl) == ("h", 7000, 3, True)
    assert (options.username, options.password) == ("u", "p")
    assert (options.timeout, options.max_idle) == (2.0, 9)
    assert options.connection == {"ssl_cert_reqs": "none"}


def test_a_password_may_stand_beside_the_url() -> None:
    """What would tear a URL is given as an option of its own, and needs no encoding."""
    options = PoolOptions(url="redis://u@h/1", password="p@/#?%:+")

    assert (options.username, options.password, options.server) == ("u", "p@/#?%:+", "h:6379/1")


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"url": "redis://h/1", "db": 2},
        "db: is given in the URL and beside it with different values (1 in the URL, 2 beside it); "
        "keep one",
    ),
    ({"url": "redis://h?timeout=5", "timeout": 2}, "timeout: is given in the URL and beside it"),
    ({"url": "redis://h?timeout=2", "timeout": None}, "timeout: is given in the URL and beside it"),
    ({"url": "redis://h?encoding=utf-8", "connection": {"encoding": "x"}}, "encoding: is given in"),
    ({"url": "redis://h", "ssl": True}, "ssl: is given in the URL and beside it with different "
     "values (False in the URL, True beside it); write rediss:// for TLS, redis:// without"),
    ({"url": "redis://u:Zq7@h", "password": "Xv8"}, "password: is given in the URL and beside it "
     "with different values (*** in the URL, *** beside it); keep one"),
    ({"url": "redis://h", "path": "/run/a.sock"}, "path: stands beside a URL that names a host"),
    ({"url": "redis://h?path=/run/a.sock"}, "path: stands beside a URL that names a host"),
    ({"path": "/run/a.sock", "host": "h"}, "host: means nothing to a unix socket; remove it"),
    ({"path": "/run/a.sock", "ssl": True}, "ssl: means nothing to a unix socket; remove it"),
    ({"url": "unix:///run/a.sock", "port": 1}, "port: means nothing to a unix socket; remove it"),
    ({"url": "embedded://", "password": "Zq7"}, "password: means nothing to the embedded server"),
    ({"url": "embedded://", "host": "h"}, "host: means nothing to the embedded server"),
    ({"connection": {"ssl_ca_certs": __file__}}, "ssl_ca_certs: needs TLS; use a rediss"),
    ({"url": f"redis://h?ssl_ca_certs={__file__}"}, "ssl_ca_certs: needs TLS; use a rediss"),
    ({"credential_provider": print, "password": "Zq7"}, "credential_provider: stands beside"),
    ({"credential_provider": print, "url": "redis://u@h"}, "credential_provider: stands beside"),
    ({"min_idle": 3, "max_connections": 2}, "min_idle: is 3, more than MAX_CONNECTIONS (2)"),
    ({"multiplex": True, "retry": Retry(NoBackoff(), 1)}, "multiplex: cannot follow a redis.retry"),
    ({"connection": {"host": "h"}}, "host: belongs beside the dict connection, not in it"),
    ({"connection": {"encodin": "x"}}, "encodin: unknown option; did you mean ENCODING?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "complaint"), CONTRADICTIONS, ids=[str(options) for options, _ in CONTRADICTIONS]
)
def test_options_that_contradict_each_other(options: dict[str, Any], complaint: str) -> None:
    """Of two options that cannot both hold, none is dropped: they are refused, secrets unseen."""
    said = refusal(**options)

    assert said.startswith(complaint)
    assert "Zq7" not in said
    assert "Xv8" not in said


@pytest.mark.parametrize(
    "beside",
    [
        {"db": 1},
        {"host": "h"},
        {"password": "p"},
        {"ssl": False},
        {"connection": {"encoding": "x"}},
    ],
    ids=str,
)
def test_the_same_twice_is_no_contradiction(beside: dict[str, Any]) -> None:
    """An option may stand in the URL and beside it with one value."""
    url = "redis://:p@h/1?encoding=x"

    assert PoolOptions(url=url, **beside) == PoolOptions(url=url)


@pytest.mark.parametrize("name", [*REFUSED, *SYNONYMS, "max_conections", "MAX_CONNECTIONS", "zzz"])
def test_unknown_names(name: str) -> None:
    """A name of elsewhere is refused with what to write instead, a misspelt one with a near one."""
    with pytest.raises(InvalidOption) as caught:
        kind_of(name)

    near = SYNONYMS.get(name, "max_connections")
    suggestion = f"unknown option; did you mean {near.upper()}?"
    expected = "unknown option" if name == "zzz" else REFUSED.get(name, suggestion)
    assert (caught.value.option, caught.value.complaint) == (name, expected)


def test_replacing_goes_beyond_the_url() -> None:
    """`replace` may differ from the URL; it checks what it is given and makes a copy."""
    options = PoolOptions(url="redis://h/1?max_connections=5")

    assert options.replace(max_connections=7).max_connections == 7
    assert options.max_connections == 5
    assert options.replace(encoding="utf-8").connection == {"encoding": "utf-8"}
    assert options.connection == {}
    with pytest.raises(InvalidOption, match=r"^max_connections: must be a whole number"):
        options.replace(max_connections=0)
    with pytest.raises(InvalidOption, match="did you mean MAX_CONNECTIONS"):
        options.replace(max_conections=7)


def test_all_connections_may_be_kept_warm() -> None:
    """`min_idle` goes up to `max_connections`, the bound included."""
    assert PoolOptions(min_idle=2, max_connections=2).min_idle == 2


def test_options_are_frozen() -> None:
    """Options are shared by threads: neither they nor the dict in them can be changed."""
    given_dict = {"encoding": "utf-8"}
    options = PoolOptions(connection=given_dict)
    given_dict["encoding"] = "latin-1"

    assert options.connection == {"encoding": "utf-8"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.db = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        options.connection["encoding"] = "latin-1"  # type: ignore[index]


def test_the_repr_tells_what_is_special() -> None:
    """A repr shows what differs from the defaults, and no secret."""
    options = PoolOptions(
        url="rediss://u:Zq7@h/1?ssl_password=Zq7", timeout=2.0, connection={"encoding": "utf-8"}
    )

    assert repr(options) == (
        "PoolOptions(url='rediss://u:***@h/1?ssl_password=***', host='h', db=1, username='u', "
        "password='***', ssl=True, timeout=2.0, encoding='utf-8', ssl_password='***')"
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    password=st.text(min_size=1).map(lambda text: f"Zq7{text}"),
    key=st.text(min_size=1).map(lambda text: f"Zq7{text}"),
)
def test_no_secret_is_shown(password: str, key: str) -> None:
    """A password given as an option is in no repr, no page and no error."""
    options = PoolOptions(password=password, ssl=True, connection={"ssl_password": key})
    provided = PoolOptions(credential_provider=lambda: password)

    shown = [repr(options), str(options.masked()), options.server]
    shown += [repr(provided), str(provided.masked())]
    shown += [refusal(password=password.encode()), refusal(connection={"ssl_password": [key]})]
    shown += [refusal(url=key.encode())]
    shown += [refusal(credential_provider=[key]), refusal(max_connections=f"redis://:{key}@h")]
    shown += [refusal(password=password, url="redis://:other@h")]
    assert "Zq7" not in "".join(shown)


def test_a_long_value_is_cut_short() -> None:
    """An error quotes the beginning of a value, not a page of it."""
    assert f"not '{'x' * 79}… (str)" in refusal(timeout="x" * 10_000)
