from __future__ import annotations

import contextlib
import traceback
from typing import Any
from urllib.parse import quote

import pytest
import redis.connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redispool import ConnectionPool, InvalidOption, PoolOptions, urls
from redispool.options import kind_of
from redispool.settings import read_settings

# A busy machine is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def parse(url: str) -> dict[str, Any]:
    """Read a URL."""
    return urls.parse(url, kind_of)


def refusal(url: str) -> str:
    """Give what is said of a URL that must be refused."""
    with pytest.raises(InvalidOption) as caught:
        parse(url)
    assert caught.value.option == "url"
    return caught.value.complaint


TCP = {"host": "h", "ssl": False}


class TestTraps:
    """What redis-py takes for something else than was meant, one by one."""

    def test_false_is_not_true(self) -> None:
        """`?decode_responses=False` switches decoding off."""
        assert parse("redis://h?decode_responses=False")["decode_responses"] is False

    def test_two_databases_are_not_joined(self) -> None:
        """`/1/2` is no database, least of all 12."""
        assert "must be one database number" in refusal("redis://h/1/2")

    def test_a_word_is_not_database_0(self) -> None:
        """`/abc` is no database, least of all 0."""
        assert "must be one database number" in refusal("redis://h/abc")

    def test_the_url_does_not_win_in_silence(self) -> None:
        """What stands beside the URL and says something else is refused, not dropped."""
        with pytest.raises(InvalidOption, match=r"^db: .* \(1 in the URL, 2 beside it\)"):
            PoolOptions(url="redis://h/1", db=2)

    def test_retry_on_error_is_not_split_into_letters(self) -> None:
        """`?retry_on_error=` is refused, with the option that decides instead."""
        assert "RETRY decides" in refusal("redis://h?retry_on_error=ValueError")

    def test_a_health_check_interval_may_have_a_fraction(self) -> None:
        """`?health_check_interval=2.5` is two and a half seconds."""
        assert parse("redis://h?health_check_interval=2.5")["health_check_interval"] == 2.5

    def test_an_unknown_option_does_not_wait_for_the_first_connect(self) -> None:
        """An unknown name is refused at once, with the near one."""
        complaint = refusal("redis://h?socket_timout=2")

        assert complaint == "socket_timout in the URL: unknown option; did you mean socket_timeout?"

    def test_ssl_is_an_option_of_a_pool(self) -> None:
        """`ssl=True` gives TLS, and no TypeError at the first connect."""
        pool = ConnectionPool(host="h", ssl=True)

        assert isinstance(pool.make_connection(), redis.connection.SSLConnection)

    def test_no_limit_is_not_100(self) -> None:
        """`max_connections` of 0, or None in settings, is refused: redis-py takes it for 100."""
        assert "max_connections in the URL must be" in refusal("redis://h?max_connections=0")
        with pytest.raises(InvalidOption, match=r"^max_connections: .* at least 1, not None"):
            PoolOptions(host="h", max_connections=None)  # type: ignore[arg-type]


READ: list[tuple[str, dict[str, Any]]] = [
    ("redis://h", TCP),
    ("REDIS://H", TCP),
    ("redis://h/", TCP),
    ("redis://h:/", TCP),
    ("redis://", {"ssl": False}),
    ("redis:///3", {"ssl": False, "db": 3}),
    ("redis://:pw@/0", {"ssl": False, "password": "pw", "db": 0}),
    ("valkey://h:7000/5", TCP | {"port": 7000, "db": 5}),
    ("rediss://h", TCP | {"ssl": True}),
    ("valkeys://h", TCP | {"ssl": True}),
    ("redis://u@h", TCP | {"username": "u"}),
    ("redis://u:p@h/0", TCP | {"username": "u", "password": "p", "db": 0}),
    ("redis://:p@h", TCP | {"password": "p"}),
    ("redis://:@h", TCP),
    ("redis://h?db=4", TCP | {"db": 4}),
    ("redis://h/4?db=4", TCP | {"db": 4}),
    ("redis://h?username=u&password=p", TCP | {"username": "u", "password": "p"}),
    ("redis://h?MAX_CONNECTIONS=7", TCP | {"max_connections": 7}),
    ("redis://h?timeout=none&&", TCP | {"timeout": None}),
    ("redis://h?", TCP),
    ("redis://[::1]/0", TCP | {"host": "::1", "db": 0}),
    ("redis://u:p@[2001:db8::7]:7000", TCP | {
        "username": "u", "password": "p", "host": "2001:db8::7", "port": 7000,
    }),
    ("redis://[fe80::1%25eth0]", TCP | {"host": "fe80::1%eth0"}),
    ("unix:///run/redis.sock", {"path": "/run/redis.sock"}),
    ("unix:///run/a%20b@c.sock?db=2", {"path": "/run/a b@c.sock", "db": 2}),
    ("unix://u:p@/run/redis.sock", {"username": "u", "password": "p", "path": "/run/redis.sock"}),
    ("embedded://", {}),
    ("embedded:///", {}),
    ("embedded:///srv/data?db=1", {"path": "/srv/data", "db": 1}),
]  # fmt: skip

MALFORMED: list[tuple[str, str]] = [
    ("", "the URL has no scheme; write it like redis://localhost:6379/0"),
    ("localhost:6379", "the URL has no scheme"),
    ("redis:h", "the URL has no scheme"),
    ("unix:/run/redis.sock", "the URL has no scheme"),
    ("http://h", "unknown scheme http://; known are redis://, valkey://, rediss://, valkeys://,"),
    ("http://u:p@h", "unknown scheme; known are"),
    ("'redis://h'", "unknown scheme; known are"),
    ("redis+sentinel://h/mymaster", "redis+sentinel:// is not available: Sentinel is not"),
    ("redis+cluster://h", "redis+cluster:// is not available: Cluster is not supported yet"),
    (" redis://h", "spaces, line breaks or invisible characters"),
    ("redis://h/0\n", "spaces, line breaks or invisible characters"),
    ("redis://h /0", "spaces, line breaks or invisible characters"),
    ("redis://h\t", "spaces, line breaks or invisible characters"),
    ("redis://\u200bh", "spaces, line breaks or invisible characters"),
    ("redis://h\x00", "spaces, line breaks or invisible characters"),
    ("redis://h:port", "the address in the URL must be host:port"),
    ("redis://h:0", "port in the URL must be a whole number from 1 to 65535"),
    ("redis://h:65536", "port in the URL must be a whole number from 1 to 65535"),
    ("redis://a:1,b:2", "the address in the URL must be host:port"),
    ("redis://::1/0", "an IPv6 host in brackets as in redis://[::1]:6379/0"),
    ("redis://[::1", "an IPv6 host in brackets"),
    ("redis://[::1]x:6379", "an IPv6 host in brackets"),
    ("redis://[no]", "an IPv6 host in brackets"),
    ("redis://h%2Fx", "host in the URL must be a host name or an address alone"),
    ("redis://u:%FF@h", "percent-encoded bytes that are not UTF-8"),
    ("redis://h/-1", "must be one database number"),
    ("redis://h/1/", "must be one database number"),
    ("redis://h/٣", "must be one database number"),
    ("redis://h/" + "9" * 5000, "must be one database number"),
    ("redis://h/1?db=2", "db after the ? contradicts what stands before it"),
    ("redis://h?host=other", "host after the ? contradicts what stands before it"),
    ("redis://h?ssl=true", "ssl after the ? contradicts what stands before it; rediss:// is TLS"),
    ("redis://h?db=1&db=1", "db stands more than once in the URL"),
    ("redis://h?db=1&DB=2", "DB stands more than once in the URL"),
    ("redis://h?timeout=", "timeout has no value in the URL"),
    ("redis://h?timeout", "timeout has no value in the URL"),
    ("redis://h?nonsense", "what stands after a ? or & of the URL is no option"),
    ("redis://h?nonsense=1", "nonsense in the URL: unknown option"),
    ("redis://h?timout=1", "timout in the URL: unknown option; did you mean timeout?"),
    ("redis://h?TIMOUT=1", "TIMOUT in the URL: unknown option; did you mean TIMEOUT?"),
    ("redis://h?max-idle=1", "max-idle in the URL: unknown option; did you mean max_idle?"),
    ("redis://h?pool_size=1", "did you mean max_connections?"),
    ("redis://h?url=redis://x", "url cannot stand in a URL"),
    ("redis://h?connection=x", "connection in the URL: options stand beside URL"),
    ("redis://h?client_name=a+b", "write %2B for a plus, %20 for a space"),
    ("redis://h?client_name=a@b", "in a value write %40"),
    ("redis://h?password=a&b", "in a value write %26 for a &"),
    ("redis://h?password=a&b=c", "in a value write %26 for a &"),
    ("redis://h?nonsense1=2", "in a value write %26 for a &"),
    ("unix://", "unix:// needs the path of a socket"),
    ("unix:///", "unix:// needs the path of a socket"),
    ("unix://run/redis.sock", "a path must follow unix:// with a third slash"),
    ("unix://h:1/run/redis.sock", "a path must follow unix:// with a third slash"),
    ("embedded://data", "a path must follow embedded:// with a third slash"),
    ("embedded://u:p@/data", "a path must follow embedded:// with a third slash"),
]  # fmt: skip

QUERY: list[tuple[str, str, Any]] = [
    ("max_connections", "7", 7),
    ("timeout", "0", 0.0),
    ("max_idle", "None", None),
    ("ssl_check_hostname", "no", False),
    ("retry", "always", "always"),
    ("protocol", "3", 3),
    ("client_name", "web%3A1", "web:1"),
    ("encoding", "latin-1", "latin-1"),
    ("ssl_cert_reqs", "none", "none"),
    ("credential_provider", "vault.password", "vault.password"),
]

QUERY_REFUSED: list[tuple[str, str, str]] = [
    ("max_connections", "7.0", "must be a whole number of at least 1"),
    ("timeout", "5s", "must be seconds, 0 or more and at most 2147483, or None for no limit"),
    ("max_idle", "0", "must be seconds, more than 0"),
    ("decode_responses", "maybe", "must be true or false"),
    ("retry", "sometimes", "must be 'safe' or 'always' or 'never'"),
    ("protocol", "4", "must be 2 or 3"),
    ("client_name", "a%20b", "must be a text without spaces"),
    ("ssl_cert_reqs", "CERT_NONE", "must be 'none' or 'optional' or 'required'"),
    ("credential_provider", "vault", "must be an object with get_credentials()"),
    ("socket_keepalive_options", "1", "cannot be given in a URL; put it beside the URL"),
]


@pytest.mark.parametrize(("url", "options"), READ, ids=[url for url, _ in READ])
def test_a_url_means_what_it_says(url: str, options: dict[str, Any]) -> None:
    """Each part of a URL becomes the option that it names, and no other appears."""
    assert parse(url) == options


@pytest.mark.parametrize(
    ("url", "complaint"),
    MALFORMED,
    ids=[url[:30].encode().decode("latin-1") for url, _ in MALFORMED],
)
def test_a_url_that_is_not_understood_whole(url: str, complaint: str) -> None:
    """A URL of which any part means nothing is refused, and the message says what to write."""
    assert complaint in refusal(url)


@pytest.mark.parametrize(("name", "text", "value"), QUERY, ids=[name for name, *_ in QUERY])
def test_options_after_the_question_mark(name: str, text: str, value: Any) -> None:
    """An option of any kind may stand in the query, and gets the type that it has."""
    parsed = parse(f"rediss://h?{name}={text}")[name]

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "complaint"), QUERY_REFUSED, ids=[name for name, *_ in QUERY_REFUSED]
)
def test_wrong_values_after_the_question_mark(name: str, text: str, complaint: str) -> None:
    """A value that the option cannot have is refused with its name as typed, and not quoted."""
    typed = name.upper()

    said = refusal(f"rediss://h?{typed}={text}")
    assert said.startswith(f"{typed} in the URL {complaint}")
    assert f"{text!r}" not in said


LEFT = "Zqxv"
RIGHT = "Vxqz"


@pytest.mark.parametrize("letter", [*"@/#?%:+[] &=\n", "é", "\u200b", "\x00"])
def test_any_letter_of_a_password_may_be_encoded(letter: str) -> None:
    """A percent-encoded password is read as it was, also when it stands in the query."""
    secret = f"{LEFT}{letter}{RIGHT}"
    encoded = quote(secret, safe="")

    assert parse(f"redis://u:{encoded}@h:6379/0")["password"] == secret
    assert parse(f"redis://h?password={encoded}")["password"] == secret


@pytest.mark.parametrize(
    ("letter", "lesson"),
    [
        ("@", "the URL has more than one @ in its address"),
        ("/", "the URL has a / before its @"),
        ("#", "the URL has a # in it"),
        ("?", "the URL has an @ after its ?"),
        ("%", "the URL has a % that no two hexadecimal digits follow"),
        ("[", "the address in the URL must be host:port"),
    ],
)
@pytest.mark.parametrize("start", ["redis://u", "rediss://", "valkey://", "valkeys://u"])
def test_a_password_that_tears_the_url(start: str, letter: str, lesson: str) -> None:
    """An unencoded character that tears a URL is refused; the message teaches and tells nothing."""
    said = refusal(f"{start}:{LEFT}{letter}{RIGHT}@h:6379/0")

    assert said.startswith(lesson)
    assert "urllib.parse.quote(password, safe='')" in said
    assert "PASSWORD beside a URL" in said
    assert LEFT not in said
    assert RIGHT not in said


@pytest.mark.parametrize("letter", list(":+!$&'()*,;=~"))
def test_letters_that_a_url_allows_stand_for_themselves(letter: str) -> None:
    """What RFC 3986 allows in the user part needs no encoding; a plus is no space."""
    url = f"redis://u:{LEFT}{letter}{RIGHT}@h"

    assert parse(url)["password"] == f"{LEFT}{letter}{RIGHT}"


MASKED = [
    ("redis://h/1?timeout=2&db=1", "redis://h/1?timeout=2&db=1"),
    ("rediss://u:Zqxv@h:1/0", "rediss://u:***@h:1/0"),
    ("redis://:Zqxv@[::1]", "redis://:***@[::1]"),
    ("redis://u@h", "redis://u@h"),
    ("unix://u:Zqxv@/run/a.sock?db=1", "unix://u:***@/run/a.sock?db=1"),
    ("redis://h?password=Zqxv&db=1", "redis://h?password=***&db=1"),
    ("redis://h?db=1&PassWord=Zqxv", "redis://h?db=1&PassWord=***"),
    ("redis://h?pass%77ord=Zqxv", "redis://h?pass%77ord=***"),
    ("rediss://h?ssl_password=Zqxv", "rediss://h?ssl_password=***"),
    ("redis://h?credential_provider=a.Zqxv", "redis://h?credential_provider=***"),
    ("redis://u:Zqxv", "***"),
    ("redis://u:Zqxv@Zqxv@h", "***"),
    ("redis://h?nonsense=Zqxv", "***"),
    ("redis://h?timeout=Zqxv", "***"),
    ("u:Zqxv@h", "***"),
]


@pytest.mark.parametrize(("url", "shown"), MASKED, ids=[url for url, _ in MASKED])
def test_a_masked_url(url: str, shown: str) -> None:
    """A masked URL shows all but secrets, and nothing of what cannot be understood."""
    assert urls.mask(url, kind_of) == shown


SHAPES = [
    "redis://u:{}@h:6379/0",
    "redis://:{}@h",
    "REDISS://u:{}@h/0?timeout=2",
    "valkey://u:{}@[::1]/x",
    "redis://u:{}@h:port/0",
    "redis://u:{}@h?nonsense=1",
    "redis://u:{}@h:6379/0?timeout=x",
    "redis://h?password={}",
    "redis://h?db=1&PASSWORD={}&timeout=x",
    "redis://h?pass%77ord={}",
    "redis://h?pasword={}",
    "rediss://h?ssl_password={}&nonsense=1",
    "redis://h?url=redis://u:{}@h",
    "unix://u:{}@/run/redis.sock",
    "unix://:{}@/run/redis.sock",
    "embedded://u:{}@/srv",
    "redis+sentinel://u:{}@h",
    "http://u:{}@h",
    "redis:u:{}@h",
    "u:{}@h:6379/0",
    ":{}@h",
]
# A secret of which every piece can be told from all that a message may say.
PIECES = st.lists(
    st.sampled_from([*"@/#?%:+&=[];,. é\\'\"", "://", "%40", "\n", "&db=", "?x=", ""])
)
SECRETS = PIECES.map(lambda pieces: "Zqxv" + "".join(f"{piece}Zqxv" for piece in pieces))


def everything_said(url: str) -> str:
    """Give all that is said of a URL, whether it is taken or refused."""
    said = [urls.mask(url, kind_of)]
    for read in (
        lambda: [PoolOptions(url=url)],
        lambda: read_settings({"a": url}).values(),
        lambda: read_settings({"a": {"URL": url, "USERNAME": "someone"}}).values(),
        lambda: read_settings({"a": {"HOST": url}}).values(),
        lambda: read_settings({"a": {"DB": url, "TIMEOUT": url}}).values(),
        lambda: read_settings({"a": {"URL": url.encode()}}).values(),
        lambda: read_settings(redis_url=url).values(),
        lambda: read_settings(environ={"REDIS_URL": url}).values(),
    ):
        try:
            for options in read():
                said += [repr(options), str(options), str(options.masked()), options.server]
        except InvalidOption as error:
            said += [str(error), repr(error), *traceback.format_exception(error)]
    return "\n".join(said)


@settings(patient, max_examples=300)
@given(shape=st.sampled_from(SHAPES), secret=SECRETS, encode=st.booleans())
def test_no_secret_is_ever_said(shape: str, secret: str, encode: bool) -> None:
    """No piece of a password is in a repr, an error, a traceback or a masked URL, however torn."""
    said = everything_said(shape.replace("{}", quote(secret, safe="") if encode else secret))

    assert "zqxv" not in said.lower()


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z][a-z0-9]{0,5}){0,2}", fullmatch=True)
HOSTS = st.one_of(NAMES, st.ip_addresses().map(str))
WORDS = st.none() | st.text(min_size=1)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.none() | st.decimals(0, 1000, places=3).map(float),
        "max_connections": st.integers(1, 10**6),
        "decode_responses": st.booleans(),
        "retry": st.sampled_from(["safe", "always", "never"]),
        "protocol": st.sampled_from([2, 3]),
        "client_name": st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
        "encoding": st.text(min_size=1),
    },
)


def build(
    scheme: str,
    username: str | None,
    password: str | None,
    host: str,
    port: int | None,
    db: int | None,
    options: dict[str, Any],
) -> str:
    """Write a URL as the standard library would have it."""
    user = quote(username or "", safe="")
    user += "" if password is None else ":" + quote(password, safe="")
    place = f"[{host}]" if ":" in host else host
    place += "" if port is None else f":{port}"
    path = "" if db is None else f"/{db}"
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in options.items())
    return f"{scheme}://{user}{'@' if user else ''}{place}{path}{'?' if query else ''}{query}"


@patient
@given(
    scheme=st.sampled_from(["redis", "rediss", "valkey", "valkeys"]),
    username=WORDS,
    password=WORDS,
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    db=st.none() | st.integers(0, 10**6),
    options=OPTIONS,
)
def test_what_is_built_is_read(scheme: str, options: dict[str, Any], **parts: Any) -> None:
    """A URL built of any parts, quoted, gives the same parts back, and nothing else."""
    url = build(scheme, options=options, **parts)

    given_parts = {name: value for name, value in parts.items() if value is not None}
    assert parse(url) == {**given_parts, "ssl": scheme in {"rediss", "valkeys"}, **options}


@patient
@given(
    scheme=st.sampled_from(["redis", "rediss"]),
    username=WORDS,
    password=WORDS,
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    db=st.none() | st.integers(0, 10**6),
    options=st.fixed_dictionaries(
        {},
        optional={
            "timeout": st.decimals(0, 1000, places=3).map(float),
            "max_connections": st.integers(1, 10**6),
            "socket_timeout": st.integers(1, 100).map(float),
            "socket_keepalive": st.booleans(),
            "client_name": NAMES,
        },
    ),
)
def test_redis_py_reads_plain_urls_alike(
    scheme: str, options: dict[str, Any], **parts: Any
) -> None:
    """Of a well-formed URL without traps, redis-py and we read the same."""
    url = build(scheme, options=options, **parts)
    theirs = dict(redis.connection.parse_url(url))
    tls = theirs.pop("connection_class", None) is redis.connection.SSLConnection

    assert parse(url) == {**theirs, "ssl": tls}


def test_redis_py_reads_a_socket_alike() -> None:
    """Of a well-formed unix:// URL, redis-py and we read the same."""
    url = "unix://u:p%40w@/run/my%20redis.sock?db=3&timeout=2"
    theirs = dict(redis.connection.parse_url(url))
    del theirs["connection_class"]

    assert parse(url) == theirs


@patient
@given(url=st.text() | st.from_regex("(redis|unix|embedded)://[!-~]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused(url: str) -> None:
    """Whatever a text holds, it is read or refused with InvalidOption; there is no third way."""
    with contextlib.suppress(InvalidOption):
        parse(url)
