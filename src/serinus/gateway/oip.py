"""The paths of the Open Inference Protocol, version 2: who is asked what, and the answers.

An endpoint is a model, its served entities are the model's versions. No JSON of a caller is parsed
here: the replica reads the tensors, and its answer gets the names that it can't know.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import msgspec

from serinus.errors import (
    BadRequest,
    MethodNotAllowed,
    ResourceDoesNotExist,
    SerinusError,
    TemporarilyUnavailable,
)
from serinus.gateway.dataplane import DataPlane, EndpointState
from serinus.gateway.pool import Pool
from serinus.replica.protocol import Format, Frame

__all__ = ["Ask", "Verb", "answer", "as_tensors", "described", "error_body", "parse", "static"]

#: In the request of a client that sends its tensors behind the JSON, not in it.
_BINARY = b"inference-header-content-length"


class Verb(Enum):
    """What is asked."""

    SERVER = "server"
    LIVE = "live"
    READY = "ready"
    MODEL = "model"
    MODEL_READY = "model ready"
    INFER = "infer"


@dataclass(frozen=True, slots=True)
class Ask:
    """One call."""

    verb: Verb
    #: Name of the endpoint; empty for the server itself.
    model: str = ""
    #: Name of a served entity; None: whichever the endpoint chooses.
    version: str | None = None


def parse(path: str, method: str) -> Ask:
    """What a path below /v2 asks; raises ResourceDoesNotExist and MethodNotAllowed."""
    match path.split("/"):
        case ["", "v2"]:
            ask = Ask(Verb.SERVER)
        case ["", "v2", "health", "live"]:
            ask = Ask(Verb.LIVE)
        case ["", "v2", "health", "ready"]:
            ask = Ask(Verb.READY)
        case ["", "v2", "models", model, *rest] if model:
            ask = _of_model(path, model, rest)
        case _:
            raise _nothing(path)
    wanted = "POST" if ask.verb is Verb.INFER else "GET"
    # Who asks for a head gets it from what a GET answers: load balancers look so after health.
    if method != wanted and (method, wanted) != ("HEAD", "GET"):
        raise MethodNotAllowed(f"Send a {wanted} to {path}.")
    return ask


def _of_model(path: str, model: str, rest: list[str]) -> Ask:
    version = None
    if rest[:1] == ["versions"] and len(rest) > 1:
        version, rest = rest[1], rest[2:]
    match rest:
        case []:
            return Ask(Verb.MODEL, model, version)
        case ["ready"]:
            return Ask(Verb.MODEL_READY, model, version)
        case ["infer"]:
            return Ask(Verb.INFER, model, version)
        case _:
            raise _nothing(path)


def _nothing(path: str) -> ResourceDoesNotExist:
    return ResourceDoesNotExist(
        f"There is no {path}; there are /v2, /v2/health/live, /v2/health/ready and "
        "/v2/models/NAME[/versions/VERSION][/ready|/infer]."
    )


def static(ask: Ask, plane: DataPlane, server_version: str) -> bytes | None:
    """The answer that needs no replica, empty for a mere yes; None for those that do.

    Raises TemporarilyUnavailable for a no.
    """
    match ask.verb:
        case Verb.SERVER:
            return msgspec.json.encode(
                {"name": "serinus", "version": server_version, "extensions": []}
            )
        case Verb.LIVE:
            return b""
        case Verb.READY:
            if plane.generation < 0:
                raise TemporarilyUnavailable("This gateway has no routes yet.", retry_after=1)
            return b""
        case Verb.MODEL_READY:
            state = plane.endpoint(ask.model)
            ready = state.ready if ask.version is None else _pool(state, ask.version).ready()
            if not ready:
                raise TemporarilyUnavailable(f"Model '{ask.model}' is not ready.", retry_after=1)
            return b""
        case Verb.MODEL | Verb.INFER:
            return None


async def described(ask: Ask, plane: DataPlane) -> bytes:
    """What a model takes and gives, as one of its replicas says. Counted as nobody's request."""
    state = plane.endpoint(ask.model)
    pool = _pool(state, ask.version) if ask.version is not None else _any(state)
    _, frame = await pool.call(b"", Format.OIP)
    if frame.status >= 400:
        raise BadRequest(f"Model '{ask.model}' does not say what tensors it takes.")
    versions = sorted({each.header.decode() for each in state.pools.values()})
    head = {"name": ask.model, "versions": [ask.version] if ask.version else versions}
    return msgspec.json.encode(head)[:-1] + b"," + frame.body[1:]


def answer(frame: Frame, model: str, version: bytes) -> bytes:
    """What a replica said, with the names of who said it; an error as the protocol has it."""
    if frame.status >= 400:
        # A remote endpoint's relay and a replica of an earlier version don't know the protocol.
        return frame.body if frame.body.startswith(b'{"error":') else _refusal(frame.body)
    head = msgspec.json.encode({"model_name": model, "model_version": version.decode()})
    return head[:-1] + b"," + frame.body[1:]


def as_tensors(format_: Format, headers: Iterable[tuple[bytes, bytes]]) -> Format:
    """The format of a request whose tensors are in its JSON; raises BadRequest for others."""
    if format_ is not Format.JSON:
        raise BadRequest("Tensors come as JSON here: send content-type application/json.")
    if any(name == _BINARY for name, _ in headers):
        raise BadRequest(
            "The binary tensor extension is not spoken here; send tensors as JSON (in Triton's "
            "client with binary_data=False)."
        )
    return Format.OIP


def _refusal(body: bytes) -> bytes:
    try:
        return msgspec.json.encode({"error": msgspec.json.decode(body)["message"]})
    except (msgspec.DecodeError, KeyError, TypeError):
        return msgspec.json.encode({"error": body[:1000].decode(errors="replace")})


def error_body(error: SerinusError) -> bytes:
    """An error as the protocol has it."""
    return msgspec.json.encode({"error": error.message})


def _pool(state: EndpointState, version: str) -> Pool:
    pool = state.pools.get(version)
    if pool is None and not state.pools:
        raise TemporarilyUnavailable(f"Model '{state.name}' is not ready.", retry_after=1)
    if pool is None:
        raise ResourceDoesNotExist(
            f"Model '{state.name}' has no version '{version}'; "
            f"it has {', '.join(state.pools) or 'none'}."
        )
    return pool


def _any(state: EndpointState) -> Pool:
    """Who is asked what the model takes: what most callers meet."""
    if state.stage is not None:
        return state.pools[state.stage.route.stable]
    carrying = state.split.names if state.split is not None else ()
    found = [state.pools[name] for name in carrying] or list(state.pools.values())
    for pool in found:
        if pool.ready():
            return pool
    raise TemporarilyUnavailable(f"Model '{state.name}' is not ready.", retry_after=1)
