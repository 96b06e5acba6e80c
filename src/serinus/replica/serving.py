"""Puts one replica together: model, proof of batching, scorer, listening socket, loop.

The first module of a replica that imports NumPy; `main` sets the thread limits before.
"""

import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from serinus.entities import Reading
from serinus.errors import SerinusError
from serinus.parity.contract import Contract, contract_id
from serinus.parity.derived import derive
from serinus.parity.folder import (
    DIRECTORY,
    GoldenRow,
    has_contract,
    read_bundle,
    read_golden,
)
from serinus.parity.shape import Shape, shape_of
from serinus.parity.wire import Running
from serinus.replica.batching import Proof, prove
from serinus.replica.card import read_card
from serinus.replica.inspector import Files, Inspector
from serinus.replica.launch import Launch, Phase, Status
from serinus.replica.loaded import Model, Source, golden_units
from serinus.replica.loop import Aside, Loop
from serinus.replica.model import load_from
from serinus.replica.nulled import Nulled
from serinus.replica.oip import OpenInference
from serinus.replica.pace import Pace
from serinus.replica.protocol import PROTOCOL_VERSION, Hello, Kind
from serinus.replica.scorer import Observer, Scorer
from serinus.replica.sizes import Sizes
from serinus.replica.stager import Stager
from serinus.replica.unit import Unit
from serinus.replica.watcher import Watcher

__all__ = [
    "inspector_of",
    "prepare",
    "promised",
    "prove_batching",
    "scorer_of",
    "watcher_of",
]

_log = logging.getLogger(__name__)


def prepare(launch: Launch, random: Random) -> tuple[Status, Loop]:
    """Load and prove the model and listen; raises whatever the model's own code raises."""
    files = Files(Path(launch.model_path))
    contract, golden = promised(Path(launch.model_path))
    model = load_from(
        Source(
            Path(launch.model_path),
            launch.intake,
            golden,
            launch.optimize,
            Path(launch.forms_path) if launch.forms_path else None,
            launch.convert_s,
        )
    )
    proof = prove_batching(model, launch, random, golden)
    hello = Hello(PROTOCOL_VERSION, launch.replica_id, launch.model_digest, os.getpid())
    nulled = Nulled()
    sizes = Sizes()
    inspector = inspector_of(model, contract, launch, proof, files)
    stager = Stager(inspector.stages_of) if launch.live and inspector.has_stages else None
    watcher = watcher_of(launch, random, nulled, sizes, stager) if launch.live else None
    asides: dict[Kind, Aside] = {Kind.INSPECT: inspector.answer}
    if watcher is not None:
        asides[Kind.WATCH] = watcher.live
        watcher.start()
    loop = Loop(
        _listen(Path(launch.socket_path)),
        scorer_of(model, proof, watcher, nulled, _open_inference(launch, model), sizes),
        hello,
        max_batch=launch.max_batch,
        pace=Pace(sizes, launch.max_batch, launch.batch_time_s, together=proof.batched),
        drain_s=launch.drain_s,
        asides=asides,
        chore=stager.step if stager is not None else lambda: False,
    )
    if stager is not None:
        stager.wake = loop.wake
    standing = model.standing
    status = Status(
        Phase.READY,
        batched=proof.batched,
        batching=proof.reason,
        pid=os.getpid(),
        form=standing.form.value,
        form_reason=standing.reason,
        form_report=standing.report,
    )
    return status, loop


def _open_inference(launch: Launch, model: Model) -> OpenInference | None:
    """None for a signature that can't be read: the model serves all the same."""
    try:
        return OpenInference(read_card(Path(launch.model_path)), model.intake)
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("action=no_open_inference reason=%r", error)
        return None


def scorer_of(
    model: Model,
    proof: Proof,
    observer: Observer | None = None,
    nulled: Nulled | None = None,
    oip: OpenInference | None = None,
    sizes: Sizes | None = None,
) -> Scorer:
    """What answers requests."""
    return Scorer(
        model,
        batched=proof.batched,
        by_row=_by_row(model),
        observer=observer,
        nulled=nulled,
        oip=oip,
        sizes=sizes,
    )


def watcher_of(
    launch: Launch,
    random: Random,
    nulled: Nulled | None = None,
    sizes: Sizes | None = None,
    stager: Stager | None = None,
) -> Watcher:
    """What counts live values."""
    return Watcher(
        lambda: _shape(Path(launch.model_path)),
        incarnation=secrets.token_hex(8),
        random=random,
        nulled=nulled,
        sizes=sizes,
        stager=stager,
        # Values are counted by the hour in which they came.
        wall=time.time,  # noqa: TID251
    )


def _shape(path: Path) -> tuple[Shape, Contract] | None:
    """How the model's values are counted; None when its contract can't be read."""
    try:
        bundle = read_bundle(path / DIRECTORY) if has_contract(path) else derive(path)
    except SerinusError as error:
        _log.warning("action=live_values_not_counted reason=%s", error.message)
        return None
    return shape_of(bundle.contract, bundle.profile), bundle.contract


def inspector_of(
    model: Model,
    contract: Contract | None,
    launch: Launch,
    proof: Proof,
    files: Files | None = None,
) -> Inspector:
    """What answers questions about stages."""
    identity = Running(
        model_digest=launch.model_digest,
        contract_id="" if contract is None else contract_id(contract),
        strict=launch.intake is Reading.STRICT,
        batched=proof.batched,
        batching=proof.reason,
        form=model.standing.form.value,
        form_reason=model.standing.reason,
    )
    return Inspector(model, contract, identity, files)


def promised(path: Path) -> tuple[Contract | None, tuple[GoldenRow, ...]]:
    """The contract beside the model; without a good one it is served all the same."""
    if not has_contract(path):
        return None, ()
    try:
        return read_golden(path / DIRECTORY)
    except SerinusError as error:
        _log.warning("action=contract_not_used reason=%s", error.message)
        return None, ()


def prove_batching(
    model: Model, launch: Launch, random: Random, golden: Sequence[GoldenRow] = ()
) -> Proof:
    """Whether the model may be given batches.

    Golden rows show more than the input example: they hold every case that training knew.
    """
    if launch.max_batch <= 1:
        return Proof(False, "batching is switched off")
    example = model.example
    units = golden_units(model.intake, golden)
    if example is None and units:
        example = units[0]
    if example is None:
        return Proof(False, f"nothing to prove it with: {model.no_example}")
    return _prove(model, example, random, golden)


def _prove(model: Model, example: Unit, random: Random, golden: Sequence[GoldenRow]) -> Proof:
    proof = prove(model.intake, model.predict, example, random)
    units = golden_units(model.intake, golden)
    if proof.batched and len(units) > 1:
        return prove(model.intake, model.predict, units[0], random, rows=units, what="golden rows")
    return proof


def _by_row(model: Model) -> bool:
    """False for a model that answers its own example with another number of rows.

    Some sum their input up; for them a different count is no fault.
    """
    if model.example is None or model.example_rows is None:
        return True
    return model.example_rows == model.example.rows


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(128)
    return listener
