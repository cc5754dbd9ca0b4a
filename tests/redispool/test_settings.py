from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from redispool import InvalidOption, PoolOptions
from redispool.foreign import PASSED_ON, taken_by
from redispool.options import option_names
from redispool.settings import read_settings

NOTHING: dict[str, str] = {}


def read(aliases: Any = None, **sources: Any) -> dict[str, PoolOptions]:
    """Read settings where the environment is empty."""
    return read_settings(aliases, **{"environ": NOTHING, **sources})


def refusal(aliases: Any = None, **sources: Any) -> str:
    """Give what is said of settings that must be refused."""
    with pytest.raises(InvalidOption) as caught:
        read(aliases, **sources)
    return str(caught.value)


def provide() -> str:
    """Give a password."""
    return "password"


TEXT = (["x"], ["", 5, b"x"], "must be a text that is not empty")
FLAG = ([True, False], [None, "True", 1], "must be True or False")
COUNT = ([0, 7], [-1, 1.0, "1", True, None], "must be a whole number of at least 0")
BOUND = ([1, 7], [0, 1.0, "1", True, None], "must be a whole number of at least 1")
LIMIT = (
    [0.1, 7, None],
    [0, -1, "1", True, float("nan"), 10**400],
    "must be seconds, more than 0 and at most 2147483, or None for no limit",
)
ANYTHING: tuple[list[Any], list[Any], str] = ([object()], [], "")
FILE = (
    [__file__, Path(__file__)],
    [None, "", str(Path(__file__).parent), "no-such.pem", 5],
    "must be the path of a file that can be read",
)
DIRECTORY = (
    [str(Path(__file__).parent)],
    [None, "", __file__, "no-such-directory"],
    "must be the path of a directory that can be read",
)
OPTIONAL_TEXT = ([*TEXT[0], None], *TEXT[1:])
# Of each option: values that may stand, values that are refused, and what the message begins with.
RANGES: dict[str, tuple[list[Any], list[Any], str]] = {
    "url": (["redis://h"], ["", 5, b"redis://h"], "must be a text that is not empty"),
    "host": (["h", "::1"], ["", None, 5, "h:1", "a b", "redis://h"], "must be a "),
    "port": ([1, 65535], [0, 65536, "6379", True, None], "must be a whole number from 1 to 65535"),
    "db": COUNT,
    "username": OPTIONAL_TEXT,
    "password": OPTIONAL_TEXT,
    "path": OPTIONAL_TEXT,
    "ssl": FLAG,
    "credential_provider": (
        [provide, "vault.password", None],
        ["password", 5, ".password"],
        "must be an object with get_credentials(), a callable, or the dotted path of one",
    ),
    "max_connections": BOUND,
    "timeout": (
        [0, 0.1, None],
        [-1, "1", True, float("inf")],
        "must be seconds, 0 or more and at most 2147483, or None for no limit",
    ),
    "max_waiting": COUNT,
    "multiplex": ([False], [None, "False", 1], "must be True or False"),
    "min_idle": COUNT,
    "max_idle": LIMIT,
    "max_lifetime": LIMIT,
    "health_check_interval": (
        [0, 2.5],
        [-1, "1", None, True],
        "must be seconds, 0 or more and at most 2147483",
    ),
    "socket_timeout": LIMIT,
    "socket_connect_timeout": LIMIT,
    "retry": (
        ["safe", "always", "never"],
        ["Safe", 3, None],
        "must be 'safe' or 'always' or 'never'",
    ),
    "retries": COUNT,
    "protocol": ([2, 3], [1, 4, "2", 2.0, None], "must be 2 or 3"),
    "decode_responses": FLAG,
    "cache": ([None], ["redis", 5], "must be a redis.cache.CacheInterface"),
    "cache_config": ([None], ["redis", 5], "must be a redis.cache.CacheConfigurationInterface"),
    "leak_threshold": LIMIT,
    "max_pubsub": BOUND,
    "client_name": (["web", None], ["a b", "wéb", 5, ""], "must be a text "),
    "command_packer": ANYTHING,
    "driver_info": ANYTHING,
    "encoding": TEXT,
    "encoding_errors": TEXT,
    "legacy_responses": FLAG,
    "parser_class": ANYTHING,
    "redis_connect_func": ANYTHING,
    "socket_keepalive": FLAG,
    "socket_keepalive_options": ANYTHING,
    "socket_read_size": BOUND,
    "socket_type": COUNT,
    "ssl_ca_certs": FILE,
    "ssl_ca_data": ANYTHING,
    "ssl_ca_path": DIRECTORY,
    "ssl_cert_reqs": (
        ["none", "optional", "required", None, ssl.CERT_NONE],
        ["CERT_NONE", 0, True],
        "must be 'none' or 'optional' or 'required'",
    ),
    "ssl_certfile": FILE,
    "ssl_check_hostname": FLAG,
    "ssl_ciphers": TEXT,
    "ssl_exclude_verify_flags": ANYTHING,
    "ssl_include_verify_flags": ANYTHING,
    "ssl_keyfile": FILE,
    "ssl_min_version": ([ssl.TLSVersion.TLSv1_3, 771], [-1, "TLSv1.3"], "must be a whole number"),
    "ssl_ocsp_context": ANYTHING,
    "ssl_ocsp_expected_cert": ANYTHING,
    "ssl_password": TEXT,
    "ssl_validate_ocsp": FLAG,
    "ssl_validate_ocsp_stapled": FLAG,
}
REFUSED_VALUES = [
    pytest.param(name, value, begin, id=f"{name}={value!r:.20}")
    for name, (_, refused, begin) in RANGES.items()
    for value in refused
]


def test_every_option_has_its_ranges() -> None:
    """The tables of this module leave no option out."""
    assert list(RANGES) == option_names()


@pytest.mark.parametrize("name", RANGES)
def test_values_that_may_stand(name: str) -> None:
    """Each option may be given under its name in capitals or in lower case, and arrives."""
    if name in PASSED_ON and name not in taken_by("tls"):
        pytest.skip("the installed redis-py has no such option")
    beside: dict[str, Any] = {"SSL": True} if name.startswith("ssl_") else {}
    for value in RANGES[name][0]:
        for key in (name, name.upper()):
            options = read({"a": {**beside, key: value}})["a"]
            assert getattr(options, name, options.connection.get(name)) == value


@pytest.mark.parametrize(("name", "value", "begin"), REFUSED_VALUES)
def test_values_that_are_refused(name: str, value: Any, begin: str) -> None:
    """A wrong type or a value out of range is refused under the key as typed, with the range."""
    for key in (name, name.upper()):
        said = refusal({"sessions": {key: value}})
        assert said.startswith(f'REDISPOOL["sessions"]["{key}"]: {begin}')
        assert said.endswith(f" ({type(value).__name__})")

    flat = f"REDISPOOL_{name.upper()}"
    assert refusal(flat={flat: value}).startswith(f"{flat}: {begin}")


UNKNOWN: list[tuple[str, str]] = [
    ("MAX_CONECTIONS", "unknown option; did you mean MAX_CONNECTIONS?"),
    ("max_conections", "unknown option; did you mean max_connections?"),
    ("Max_Connections", "unknown option; did you mean MAX_CONNECTIONS?"),
    ("max-idle", "unknown option; did you mean max_idle?"),
    ("MAX_SIZE", "unknown option; did you mean MAX_CONNECTIONS?"),
    ("user", "unknown option; did you mean username?"),
    ("CONNECTION_URL", "unknown option; did you mean URL?"),
    ("DECODE_RESPONSE", "unknown option; did you mean DECODE_RESPONSES?"),
    ("ZZZ", "unknown option"),
    ("", "unknown option"),
    ("OPTIONS", "options stand beside URL, not in a dict of their own"),
    ("CONNECTION", "options stand beside URL, not in a dict of their own"),
    ("LOCATION", "this is the name in Django's CACHES; use URL"),
    ("RETRY_ON_TIMEOUT", "which errors are retried is decided by RETRY"),
]


@pytest.mark.parametrize(("key", "complaint"), UNKNOWN, ids=[key for key, _ in UNKNOWN])
def test_unknown_keys(key: str, complaint: str) -> None:
    """An unknown key is quoted as typed; the near one is given in the spelling of the user."""
    assert refusal({"sessions": {key: 1}}) == f'REDISPOOL["sessions"]["{key}"]: {complaint}'


def test_unknown_flat_keys() -> None:
    """A misspelt flat key gets the near flat key."""
    said = refusal(flat={"REDISPOOL_MAX_CONECTIONS": 5})

    assert said == (
        "REDISPOOL_MAX_CONECTIONS: unknown option; did you mean REDISPOOL_MAX_CONNECTIONS?"
    )


SHAPES: list[tuple[Any, str]] = [
    (5, "REDISPOOL: must be a dict of aliases, such as {'default': 'redis://localhost:6379/0'}, "
        "not int"),
    (["redis://:Zq7@h"], "REDISPOOL: must be a dict of aliases, such as"),
    ({"a": 5}, 'REDISPOOL["a"]: must be a URL or a dict of options, not int'),
    ({"a": ["redis://:Zq7@h"]}, 'REDISPOOL["a"]: must be a URL or a dict of options, not list'),
    ({"a": None}, 'REDISPOOL["a"]: must be a URL or a dict of options, not NoneType'),
    ({"a": {5: 5}}, 'REDISPOOL["a"]["5"]: the name of an option must be a text'),
    ({"a": ""}, 'REDISPOOL["a"]: must be a text that is not empty'),
    ("", "REDISPOOL: must be a text that is not empty"),
    ("h:6379", "REDISPOOL: the URL has no scheme; write it like redis://localhost:6379/0"),
    ({5: "redis://h"}, "REDISPOOL[5]: an alias must be a text that is not empty"),
    ({"": "redis://h"}, "REDISPOOL['']: an alias must be a text that is not empty"),
    ({"URL": "redis://:Zq7@h"}, 'REDISPOOL["URL"]: is an option, not an alias; '
     'write REDISPOOL = {"default": {"URL": …}}'),
    ({"a": "redis://h/x"}, 'REDISPOOL["a"]: the path of the URL must be one database number'),
    ({"a": "redis://h?timout=1"}, 'REDISPOOL["a"]: timout in the URL: unknown option; did you'),
    ({"a": {"url": "redis://h?db=x"}}, 'REDISPOOL["a"]["url"]: db in the URL must be a whole'),
    ({"a": "redis://h?min_idle=60"}, 'REDISPOOL["a"]: MIN_IDLE is 60, more than MAX_CONNECTIONS'),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "complaint"), SHAPES, ids=[str(s)[:30] for s, _ in SHAPES])
def test_settings_of_a_wrong_shape(setting: Any, complaint: str) -> None:
    """What is no dict of aliases, URLs and options is refused where it stands, and never quoted."""
    said = refusal(setting)

    assert said.startswith(complaint)
    assert "Zq7" not in said


CONTRADICTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"URL": "redis://h/1", "DB": 2}, "DB", "is given in the URL and beside it"),
    ({"URL": "redis://h/1", "DB": 0}, "DB", "is given in the URL and beside it"),
    ({"url": "redis://h:7000", "port": 6379}, "port", "is given in the URL and beside it"),
    ({"URL": "rediss://h", "SSL": False}, "SSL", "is given in the URL and beside it"),
    (
        {"URL": "redis://h?timeout=2", "TIMEOUT": 5.0},
        "TIMEOUT",
        "is given in the URL and beside it",
    ),
    (
        {"URL": "redis://h?encoding=x", "ENCODING": "y"},
        "ENCODING",
        "is given in the URL and beside",
    ),
    (
        {"URL": "redis://h?max_idle=9", "MAX_IDLE": None},
        "MAX_IDLE",
        "is given in the URL and beside",
    ),
    (
        {"URL": "redis://h/1", "DB": "1"},
        "DB",
        "must be a whole number of at least 0, not '1' (str)",
    ),
    ({"TIMEOUT": 2, "timeout": 3}, "timeout", 'contradicts REDISPOOL["a"]["TIMEOUT"]; give'),
    ({"URL": "redis://h", "PATH": "/x"}, "PATH", "stands beside a URL that names a host"),
    ({"URL": "unix:///x", "HOST": "h"}, "HOST", "means nothing to a unix socket"),
    ({"MIN_IDLE": 9, "MAX_CONNECTIONS": 8}, "MIN_IDLE", "is 9, more than MAX_CONNECTIONS (8)"),
    ({"SSL_CA_CERTS": __file__}, "SSL_CA_CERTS", "needs TLS"),
    ({"PASSWORD": "x", "CREDENTIAL_PROVIDER": provide}, "CREDENTIAL_PROVIDER", "stands beside"),
]


@pytest.mark.parametrize(
    ("options", "key", "complaint"), CONTRADICTIONS, ids=[str(o) for o, *_ in CONTRADICTIONS]
)
def test_contradictions(options: dict[str, Any], key: str, complaint: str) -> None:
    """A value that something else contradicts is refused by key, also where it is the default."""
    assert refusal({"a": options}).startswith(f'REDISPOOL["a"]["{key}"]: {complaint}')


def test_the_same_twice_is_no_contradiction() -> None:
    """One value may be given in two places."""
    twice = {
        "URL": "redis://:p@h/1?timeout=2",
        "DB": 1,
        "TIMEOUT": 2,
        "timeout": 2.0,
        "PASSWORD": "p",
    }

    options = read({"a": twice})["a"]

    assert (options.db, options.timeout, options.password) == (1, 2.0, "p")


PRECEDENCE: list[tuple[str, dict[str, Any], str]] = [
    ("nothing", {}, "localhost:6379/0"),
    ("environment", {"environ": {"REDIS_URL": "redis://env"}}, "env:6379/0"),
    ("setting", {"redis_url": "redis://s", "environ": {"REDIS_URL": "redis://env"}}, "s:6379/0"),
    ("empty setting", {"redis_url": "", "environ": {"REDIS_URL": "redis://env"}}, "env:6379/0"),
    ("empty environment", {"environ": {"REDIS_URL": ""}}, "localhost:6379/0"),
    ("text", {"aliases": "redis://text", "redis_url": "redis://s"}, "text:6379/0"),
    ("alias", {"aliases": {"default": "redis://a"}, "redis_url": "redis://s"}, "a:6379/0"),
    ("URL", {"aliases": {"default": {"URL": "redis://a"}}, "redis_url": "redis://s"}, "a:6379/0"),
    ("host", {"aliases": {"default": {"HOST": "a"}}, "redis_url": "redis://s"}, "a:6379/0"),
    ("port", {"aliases": {"default": {"port": 1}}, "redis_url": "redis://s"}, "localhost:1/0"),
    ("path", {"aliases": {"default": {"PATH": "/x"}}, "redis_url": "redis://s"}, "/x/0"),
    ("flat", {"flat": {"REDISPOOL_URL": "redis://f"}, "redis_url": "redis://s"}, "f:6379/0"),
    ("no server", {"aliases": {"default": {"TIMEOUT": 2}}, "redis_url": "redis://s"}, "s:6379/0"),
    ("URL None", {"aliases": {"default": {"URL": None}}, "redis_url": "redis://s"}, "s:6379/0"),
    ("db alone", {"aliases": {"default": {"DB": 3}}}, "localhost:6379/3"),
    ("db beside", {"aliases": {"default": {"DB": 3}}, "redis_url": "redis://s"}, "s:6379/3"),
    ("empty dict", {"aliases": {}, "redis_url": "redis://s"}, "s:6379/0"),
]


@pytest.mark.parametrize(
    ("_", "sources", "server"), PRECEDENCE, ids=[name for name, *_ in PRECEDENCE]
)
def test_where_the_server_of_default_comes_from(
    _: str, sources: dict[str, Any], server: str
) -> None:
    """REDISPOOL goes before REDIS_URL, that before the environment, that before localhost."""
    options = read(**sources)

    assert list(options) == ["default"]
    assert options["default"].server == server


def test_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_URL of the process counts where no other environment is given."""
    monkeypatch.setenv("REDIS_URL", "redis://env/4")

    assert read_settings()["default"].server == "env:6379/4"


@pytest.mark.parametrize(
    ("sources", "key"),
    [
        ({"redis_url": "redis://h/x"}, "REDIS_URL"),
        ({"redis_url": 5}, "REDIS_URL"),
        ({"environ": {"REDIS_URL": "redis://h/x"}}, "REDIS_URL in the environment"),
        ({"flat": {"REDISPOOL_URL": "redis://h/x"}}, "REDISPOOL_URL"),
        ({"aliases": {"default": {"URL": None}}, "redis_url": "redis://h/x"}, "REDIS_URL"),
    ],
    ids=str,
)
def test_the_source_of_a_bad_url_is_named(sources: dict[str, Any], key: str) -> None:
    """An error says in which of the places the URL stands that is to be mended."""
    assert re.match(rf"{key}: (the path of the URL|must be a text)", refusal(**sources))


def test_aliases_have_their_own_options() -> None:
    """Two aliases of one URL keep what belongs to each; REDIS_URL is for `default` alone."""
    options = read(
        {
            "default": {"TIMEOUT": 1},
            "a": {"URL": "redis://h", "TIMEOUT": 2},
            "b": "redis://h",
            "c": {},
        },
        redis_url="redis://s",
    )

    assert {alias: (o.host, o.timeout) for alias, o in options.items()} == {
        "default": ("s", 1),
        "a": ("h", 2),
        "b": ("h", 5.0),
        "c": ("localhost", 5.0),
    }


def test_default_is_not_made_up() -> None:
    """Where REDISPOOL names aliases and `default` is not among them, there is no `default`."""
    assert list(read({"a": "redis://h"}, redis_url="redis://s")) == ["a"]


def test_an_alias_may_have_any_name() -> None:
    """Only what is an option in capitals cannot be an alias."""
    names = ["cache", "timeout", "url", "SESSIONS", "with spaces"]

    assert list(read(dict.fromkeys(names, "redis://h"))) == names


def test_flat_keys_are_for_default() -> None:
    """Flat settings join what REDISPOOL says of `default`, and leave the others alone."""
    flat = {"REDISPOOL_TIMEOUT": 2, "REDISPOOL_ENCODING": "latin-1"}
    options = read({"default": {"MAX_IDLE": 9}, "a": "redis://h"}, flat=flat, redis_url="redis://s")

    assert options["default"] == PoolOptions(
        url="redis://s", timeout=2, max_idle=9, connection={"encoding": "latin-1"}
    )
    assert options["a"] == PoolOptions(url="redis://h")


def test_flat_keys_bring_default_about() -> None:
    """A flat setting is about `default`, also where REDISPOOL does not name it."""
    assert set(read({"a": "redis://h"}, flat={"REDISPOOL_TIMEOUT": 2})) == {"a", "default"}


def test_flat_keys_may_not_contradict() -> None:
    """A flat setting that says something else than REDISPOOL is refused, and both are named."""
    said = refusal({"default": {"TIMEOUT": 3}}, flat={"REDISPOOL_TIMEOUT": 2})

    assert said == (
        'REDISPOOL_TIMEOUT: contradicts REDISPOOL["default"]["TIMEOUT"]; '
        "give the option in one place"
    )


def test_ready_options_are_taken_as_they_are() -> None:
    """PoolOptions may stand for an alias; REDIS_URL does not touch them, flat settings may not."""
    ready = PoolOptions(timeout=2)

    assert read({"default": ready, "a": ready}, redis_url="redis://s")["default"] is ready
    said = refusal({"default": ready}, flat={"REDISPOOL_DB": 1})
    assert said == 'REDISPOOL_DB: contradicts the PoolOptions of REDISPOOL["default"]'


def test_reading_changes_nothing() -> None:
    """The dicts of the settings are read, never written to."""
    setting: dict[str, Any] = {"default": {"TIMEOUT": 2}}
    read(setting, redis_url="redis://s", flat={"REDISPOOL_DB": 1})

    assert setting == {"default": {"TIMEOUT": 2}}
