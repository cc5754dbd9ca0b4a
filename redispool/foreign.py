"""Option names from elsewhere: those that redis-py's connections take, and those to be refused."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Mapping

from redis import connection as base

from . import kinds
from .kinds import Kind

PASSED_ON: Mapping[str, Kind] = types.MappingProxyType(
    {
        "command_packer": kinds.Anything(),
        "driver_info": kinds.Anything(),
        "encoding": kinds.Text(),
        "encoding_errors": kinds.Text(),
        "legacy_responses": kinds.Flag(),
        "parser_class": kinds.Anything(),
        "redis_connect_func": kinds.Anything(),
        "socket_keepalive": kinds.Flag(),
        "socket_keepalive_options": kinds.Anything(),
        "socket_read_size": kinds.Whole(minimum=1),
        "socket_type": kinds.Whole(minimum=0),
        "ssl_ca_certs": kinds.ExistingPath(),
        "ssl_ca_data": kinds.Anything(),
        "ssl_ca_path": kinds.ExistingPath(directory=True),
        "ssl_cert_reqs": kinds.Certificates(),
        "ssl_certfile": kinds.ExistingPath(),
        "ssl_check_hostname": kinds.Flag(),
        "ssl_ciphers": kinds.Text(),
        "ssl_exclude_verify_flags": kinds.Anything(),
        "ssl_include_verify_flags": kinds.Anything(),
        "ssl_keyfile": kinds.ExistingPath(),
        "ssl_min_version": kinds.Whole(minimum=0),
        "ssl_ocsp_context": kinds.Anything(),
        "ssl_ocsp_expected_cert": kinds.Anything(),
        "ssl_password": kinds.Text(),
        "ssl_validate_ocsp": kinds.Flag(),
        "ssl_validate_ocsp_stapled": kinds.Flag(),
    }
)
"""redis-py's own connection options, given to its connection class as they are."""

REFUSED: Mapping[str, str] = types.MappingProxyType(
    {
        "cache_factory": "use CACHE, or CACHE_CONFIG with its cache_class",
        "connection": "options stand beside URL, not in a dict of their own",
        "connection_pool": "a pool cannot be built from another pool",
        "event_dispatcher": "the pool renews its connections itself; see CREDENTIAL_PROVIDER",
        "lib_name": "use DRIVER_INFO",
        "lib_version": "use DRIVER_INFO",
        "location": "this is the name in Django's CACHES; use URL",
        "maint_notifications_config": "maintenance notifications are not available in this pool",
        "options": "options stand beside URL, not in a dict of their own",
        "queue_class": "the pool serves callers itself, first come, first served; see TIMEOUT",
        "retry_on_error": "RETRY decides; give it a redis.retry.Retry with supported_errors",
        "retry_on_timeout": "which errors are retried is decided by RETRY",
        "single_connection_client": "use redis.pinned()",
    }
)
"""Names from elsewhere that people try, and what to write instead."""

SYNONYMS: Mapping[str, str] = types.MappingProxyType(
    {
        "connection_pool_kwargs": "max_connections",
        "connection_url": "url",
        "database": "db",
        "max_size": "max_connections",
        "min_size": "min_idle",
        "pool_size": "max_connections",
        "pool_timeout": "timeout",
        "socket_path": "path",
        "unix_socket_path": "path",
        "user": "username",
    }
)

TRANSPORTS = types.MappingProxyType(
    {
        "tcp": ("TCP", base.Connection),
        "tls": ("TLS", base.SSLConnection),
        "unix": ("a unix socket", base.UnixDomainSocketConnection),
        "embedded": ("the embedded server", base.UnixDomainSocketConnection),
    }
)
"""How a server is reached: in words, and the class of redis-py's that does it."""


@functools.cache
def taken_by(transport: str) -> frozenset[str]:
    """The options that the connection class of the installed redis-py takes."""
    _, connection_class = TRANSPORTS[transport]
    inits = (vars(kind).get("__init__", object.__init__) for kind in connection_class.__mro__)
    return frozenset(name for init in inits for name in inspect.signature(init).parameters)
