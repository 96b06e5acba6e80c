"""Every setting of the server, once: default, environment variable, file key, what it means.

Only `serinus.server` and `serinus.cli` may read this; everything below takes plain values.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from serinus.api.naming import endpoint_name
from serinus.errors import InvalidParameterValue

__all__ = [
    "CLIENT_VARIABLES",
    "Setting",
    "Settings",
    "SettingsError",
    "load_settings",
    "parse_duration",
    "settings",
]

#: Variables of this family that belong to the client commands, not to the server.
CLIENT_VARIABLES = frozenset({"SERINUS_SERVER", "SERINUS_TOKEN", "SERINUS_CONFIG"})

_PREFIX = "SERINUS_"
_HOME = Path(".serinus")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")

_Parse = Callable[[object], Any]


class SettingsError(ValueError):
    """A setting has a name or a value that the server does not know."""


def parse_duration(value: object) -> float:
    """Seconds in ``"500ms"``, ``"60s"``, ``"10m"``, ``"2h"``, ``"1d"`` or a bare number."""
    number, unit = _quantity(value, "a duration such as 500ms, 60s or 10m")
    if (unit or "s") not in _SECONDS:
        raise ValueError(f"{value!r} is not a duration; its unit must be ms, s, m, h or d")
    seconds = number * _SECONDS[unit or "s"]
    if seconds <= 0:
        raise ValueError(f"{value!r} is not a duration greater than zero")
    return seconds


def parse_size(value: object) -> int:
    """Bytes in ``"16MiB"``, ``"512KB"`` or a bare number of bytes."""
    number, unit = _quantity(value, "a size such as 16MiB or 512KiB")
    if (unit or "b").lower() not in _BYTES:
        raise ValueError(
            f"{value!r} is not a size; its unit must be B, KB, KiB, MB, MiB, GB or GiB"
        )
    size = int(number * _BYTES[(unit or "b").lower()])
    if size <= 0:
        raise ValueError(f"{value!r} is not a size greater than zero")
    return size


def _size_or_zero(value: object) -> int:
    """As `parse_size`; a 0 without a unit stands for no limit."""
    return 0 if str(value).strip() == "0" else parse_size(value)


def _quantity(value: object, wanted: str) -> tuple[float, str]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not {wanted}")  # noqa: TRY004 - one error kind for bad values
    match = _QUANTITY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not {wanted}")
    return float(match[1]), match[2]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a text")
    return value.strip()


def _endpoint_name(value: object) -> str:
    """As the API takes it: the name stands in paths and in the names of replicas."""
    try:
        return endpoint_name(_text(value))
    except InvalidParameterValue as error:
        raise ValueError(error.message) from error


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value)).expanduser()


def _whole(lowest: int, highest: int | None = None) -> _Parse:
    """A parser of whole numbers within [lowest, highest]."""

    def parse(value: object) -> int:
        wanted = f"from {lowest} to {highest}" if highest is not None else f"of at least {lowest}"
        refusal = f"{value!r} is not a whole number {wanted}"
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(refusal)  # noqa: TRY004 - one error kind for bad values
        try:
            number = int(value)
        except ValueError as error:
            raise ValueError(refusal) from error
        if number < lowest or (highest is not None and number > highest):
            raise ValueError(refusal)
        return number

    return parse


def _truth(value: object) -> bool:
    """``true`` and ``false``, and what people write for them."""
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise ValueError(f"{value!r} is neither true nor false")
    return _WORDS[word]


def _one_of(*choices: str) -> _Parse:
    """A parser that accepts exactly these words."""

    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return str(value)

    return parse


def _setting(default: object, parse: _Parse, about: str, *also: str) -> Any:
    """A row of the table; ``also`` names further environment variables, weaker than its own."""
    return field(default=default, metadata={"parse": parse, "about": about, "also": also})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings, parsed. Durations are seconds, sizes are bytes."""

    host: str = _setting("127.0.0.1", _text, "address to listen on")
    port: int = _setting(8080, _whole(0, 65535), "port to listen on; 0 takes a free one")
    gateways: int = _setting(1, _whole(1, 256), "gateway processes that share the port")
    auth: str = _setting(
        "open",
        _one_of("open", "required"),
        "whether each caller needs a token: open (on loopback only) or required",
    )
    hosts: str = _setting(
        "", _text, "further names that this server is called by, separated by commas"
    )
    tls_cert: str = _setting("", _text, "file with the certificate (PEM) to speak TLS with")
    tls_key: str = _setting("", _text, "file with the certificate's private key (PEM)")
    behind_tls_proxy: bool = _setting(
        False, _truth, "whether a proxy in front speaks TLS, so that the server need not"
    )
    home: Path = _setting(  # noqa: RUF009 - a frozen row of the table
        _HOME, _path, "directory of the server's state"
    )
    store: str = _setting("", _text, "URL of the metadata database")
    tracking_uri: str | None = _setting(
        None,
        _text,
        "MLflow tracking server that model URIs refer to",
        "MLFLOW_TRACKING_URI",
    )
    model: str | None = _setting(None, _text, "URI or path of a model to serve at once")
    name: str | None = _setting(None, _endpoint_name, "endpoint name for that model")
    deadline: float = _setting(60.0, parse_duration, "time after which a request is answered 504")
    queue_limit: int = _setting(
        1024, _whole(1), "requests in flight to one served entity, per gateway, before 429"
    )
    max_in_flight: int = _setting(
        4096, _whole(1), "predictions that one gateway works on at a time; the next one gets 503"
    )
    max_body: int = _setting(16 * 2**20, parse_size, "largest request body")
    max_bodies: int = _setting(
        512 * 2**20,
        parse_size,
        "most bytes of all request bodies that one gateway holds; the next one gets 503",
    )
    max_decompressed: int = _setting(
        16 * 2**20, parse_size, "largest request body once it is decompressed"
    )
    max_ratio: int = _setting(
        100, _whole(1), "most that a request body over 1 MiB may grow by decompressing it"
    )
    max_request_line: int = _setting(8 * 2**10, parse_size, "longest target of a request")
    max_header: int = _setting(8 * 2**10, parse_size, "largest header of a request")
    max_headers: int = _setting(100, _whole(1), "most headers of a request")
    max_head: int = _setting(64 * 2**10, parse_size, "most bytes of all headers of a request")
    max_connections: int = _setting(
        10_000, _whole(1), "most connections to one gateway at a time; the next one gets 503"
    )
    max_pipelined: int = _setting(
        100, _whole(1), "most requests that may wait on one connection for earlier answers"
    )
    header_deadline: float = _setting(
        10.0, parse_duration, "time that the headers of a request may take"
    )
    body_grace: float = _setting(
        10.0, parse_duration, "time after which a request's body must keep up with the least rate"
    )
    body_min_rate: int = _setting(2**10, parse_size, "bytes a second that a body must keep up with")
    body_deadline: float = _setting(
        300.0, parse_duration, "time by which all of a body must have come"
    )
    keep_alive: float = _setting(
        75.0, parse_duration, "time after which a connection without a request is closed"
    )
    send_deadline: float = _setting(
        60.0, parse_duration, "time that a caller may leave an answer lying before it is cut off"
    )
    max_batch: int = _setting(128, _whole(1), "most requests that a replica scores together")
    batch_time: float = _setting(
        0.05, parse_duration, "time that a batch may take where smaller ones serve as many requests"
    )
    cache_memory: int = _setting(
        64 * 2**20, parse_size, "memory of one gateway for answers that are given again"
    )
    threads: int = _setting(1, _whole(1), "BLAS and OpenMP threads of each replica")
    replica_memory: int = _setting(
        0, _size_or_zero, "memory that one replica may take; 0: as much as there is"
    )
    start_deadline: float = _setting(
        120.0, parse_duration, "time a replica may take to load its model"
    )
    drain: float = _setting(30.0, parse_duration, "time that requests in flight get at shutdown")
    live_every: float = _setting(
        5.0, parse_duration, "time between two looks at what replicas saw of live values"
    )
    live_retention: float = _setting(
        7 * 86400.0, parse_duration, "time after which hours of live values are forgotten"
    )
    remote_hosts: str = _setting(
        "",
        _text,
        "hosts whose scoring URLs may be served, as host or host:port, separated by commas",
    )
    secrets: str = _setting(
        "", _text, "directory of the secrets that environment variables may refer to"
    )
    environments: str = _setting(
        "auto", _one_of("auto", "current", "build"), "where models run: auto, current or build"
    )
    log_level: str = _setting(
        "info", _one_of("debug", "info", "warning", "error"), "least severe log event shown"
    )
    otlp_endpoint: str = _setting(
        "",
        _text,
        "base URL of a collector of OpenTelemetry that spans are sent to",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    log_format: str = _setting("console", _one_of("console", "json"), "log lines: console or json")

    def __post_init__(self) -> None:
        # The home is made absolute once, so that no later change of directory moves the state.
        object.__setattr__(self, "home", self.home.absolute())
        if not self.store:
            object.__setattr__(self, "store", f"sqlite:///{self.home}/serinus.db")
        secrets = Path(self.secrets).expanduser() if self.secrets else self.home / "secrets"
        object.__setattr__(self, "secrets", str(secrets.absolute()))


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table, as documentation and errors show it."""

    name: str
    default: object
    about: str
    #: Environment variables that set it, the strongest first.
    variables: tuple[str, ...]
    parse: _Parse


def settings() -> tuple[Setting, ...]:
    """The table of all settings, in the order of `Settings`."""
    return tuple(
        Setting(
            name=each.name,
            default=each.default,
            about=each.metadata["about"],
            variables=(_PREFIX + each.name.upper(), *each.metadata["also"]),
            parse=each.metadata["parse"],
        )
        for each in fields(Settings)
    )


def load_settings(
    config_path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Settings:
    """Settings by precedence: ``overrides`` (None means not given), environment, file, default.

    Raises SettingsError for a file that can't be read and for every unknown name or bad value.
    """
    table = {row.name: row for row in settings()}
    values: dict[str, Any] = {}
    if config_path is not None:
        for key, value in _read(config_path).items():
            row = _known(key, table, f"{config_path}: unknown key {key!r}")
            values[row.name] = _parsed(row, value, f"{config_path}: {key}")
    values |= _from_environ(environ, table)
    for key, value in overrides.items():
        row = _known(key, table, f"unknown setting {key!r}")
        if value is not None:
            values[row.name] = _parsed(row, value, f"--{key.replace('_', '-')}")
    return Settings(**values)


def _from_environ(environ: Mapping[str, str], table: Mapping[str, Setting]) -> dict[str, Any]:
    known = {row.variables[0]: row for row in table.values()}
    for variable in environ:
        if variable.startswith(_PREFIX) and variable not in CLIENT_VARIABLES:
            _known(variable, known, f"unknown environment variable {variable}")
    values = {}
    for row in table.values():
        for variable in row.variables:
            if environ.get(variable):
                values[row.name] = _parsed(row, environ[variable], variable)
                break
    return values


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _known(name: str, table: Mapping[str, Setting], complaint: str) -> Setting:
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1, cutoff=0)
    raise SettingsError(f"{complaint}; did you mean {near[0]!r}?")


def _parsed(row: Setting, value: object, where: str) -> Any:
    try:
        return row.parse(value)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error
