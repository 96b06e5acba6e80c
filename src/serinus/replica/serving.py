"""Puts one replica together: model, proof of batching, scorer, listening socket, loop.

The first module of a replica that imports NumPy; `main` sets the thread limits before.
"""

import os
import socket
from pathlib import Path
from random import Random

from serinus.replica.batching import Proof, prove
from serinus.replica.intake import ColumnIntake
from serinus.replica.launch import Launch, Phase, Status
from serinus.replica.loop import Loop
from serinus.replica.model import Model, load
from serinus.replica.protocol import PROTOCOL_VERSION, Hello
from serinus.replica.scorer import Scorer

__all__ = ["prepare", "prove_batching"]


def prepare(launch: Launch, random: Random) -> tuple[Status, Loop]:
    """Load and prove the model and listen; raises whatever the model's own code raises."""
    model = load(Path(launch.model_path))
    proof = prove_batching(model, launch, random)
    hello = Hello(PROTOCOL_VERSION, launch.replica_id, launch.model_digest, os.getpid())
    scorer = Scorer(model, batched=proof.batched, by_row=_by_row(model))
    loop = Loop(
        _listen(Path(launch.socket_path)),
        scorer,
        hello,
        max_batch=launch.max_batch,
        drain_s=launch.drain_s,
    )
    status = Status(Phase.READY, "", proof.batched, proof.reason, os.getpid())
    return status, loop


def prove_batching(model: Model, launch: Launch, random: Random) -> Proof:
    """Whether the model may be given batches; settles too what its intake lets share one."""
    if launch.max_batch <= 1:
        return Proof(False, "batching is switched off")
    if model.example is None:
        return Proof(False, f"nothing to prove it with: {model.no_example}")
    intake = model.intake
    if isinstance(intake, ColumnIntake) and intake.has_strings:
        intake.mix_nulls = True
        proof = prove(intake, model.predict, model.example, random)
        if proof.batched:
            return proof
        intake.mix_nulls = False
    return prove(intake, model.predict, model.example, random)


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
