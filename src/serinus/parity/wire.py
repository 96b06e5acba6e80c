"""What a verification asks of a running replica and what it hears back: values and a Protocol.

Whoever verifies brings the connection; nothing here opens one.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from serinus.parity.arrays import StageValues
from serinus.parity.lock import Lock

__all__ = ["Answer", "Inspection", "Request", "Running", "Wire", "WireLost"]


class WireLost(Exception):
    """The replica ended, fell silent, or is not the one that was meant; the message says which."""


class Request(NamedTuple):
    """One request as a client sends it."""

    body: bytes
    content_type: str = "application/json"


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    body: bytes


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What the serving process made of some requests, stage by stage."""

    #: Stage → columns of values: a row for each row of the requests that were not refused.
    stages: dict[str, StageValues] = {}
    #: Stage → names of its columns, where they have names.
    columns: dict[str, list[str]] = {}
    #: Place of a request → why it was refused.
    refused: dict[int, str] = {}
    #: Stage → why nobody can compute it, e.g. that the model doesn't show it.
    missing: dict[str, str] = {}
    #: Stage → what was raised while it was computed.
    failed: dict[str, str] = {}


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica says it is."""

    #: Digest of the pinned files that it was started with.
    model_digest: str
    #: Digest of those files as they are now; "" when they could not be read again.
    files_digest: str = ""
    #: False when files were touched since the model was loaded from them.
    untouched: bool = True
    #: Id of the contract that lies beside the model it has loaded; "" when there is none.
    contract_id: str = ""
    #: What it computes with; None when it could not say.
    lock: Lock | None = None
    #: As in the contract's ``ModelIdentity``, of the model as it is loaded.
    code: dict[str, str] = {}
    parameters: dict[str, str] = {}
    #: False when requests are read as MLflow reads them, which turns values into others.
    strict: bool = True
    batched: bool = False
    #: Why requests are (not) answered in batches.
    batching: str = ""
    #: How the model is asked (``pyfunc``, ``direct``, ``onnx``) and why.
    form: str = ""
    form_reason: str = ""


class Wire(Protocol):
    """A way to one replica. Each call raises WireLost when the replica can't be heard."""

    def running(self) -> Running:
        """Who it is and what it computes with."""
        ...

    def ask(self, request: Request) -> Answer:
        """One request on its own, answered before the next is sent."""
        ...

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Many requests in flight at once, so that the replica may put them into batches."""
        ...

    def inspect(self, requests: Sequence[Request]) -> Inspection:
        """The stages of these requests' rows, computed together in one data frame."""
        ...
