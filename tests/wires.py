"""A wire to a scorer in this process: what a replica answers, without the process.

It crosses the same frames as the socket does, so that a test sees what a peer would see.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from serinus.entities import Reading
from serinus.parity.wire import Answer, Inspection, Request, Running, WireLost
from serinus.replica.launch import Launch
from serinus.replica.loaded import Model
from serinus.replica.model import load
from serinus.replica.protocol import Frame, Kind
from serinus.replica.question import (
    ask_running,
    ask_stages,
    complaint,
    format_of,
    inspection_of,
    running_of,
)
from serinus.replica.scorer import Request as Queued
from serinus.replica.serving import inspector_of, promised, prove_batching, scorer_of

__all__ = ["DIGEST", "ScorerWire"]

#: What the replica of a `ScorerWire` was started with.
DIGEST = "0" * 64


class ScorerWire:
    """See `serinus.parity.wire.Wire`. ``change`` may alter the loaded model before it serves."""

    def __init__(
        self,
        path: Path,
        *,
        change: Callable[[Model], None] = lambda model: None,
        at_once: int = 16,
        intake: Reading = Reading.STRICT,
    ) -> None:
        """``at_once``: requests in one batch; with 1 nothing has to be proved, which is quicker."""
        launch = Launch("r-1", DIGEST, str(path), "", "", "", max_batch=at_once, intake=intake)
        self.model = load(path, intake=intake)
        contract, golden = promised(path)
        change(self.model)
        proof = prove_batching(self.model, launch, Random(0), golden)  # noqa: S311 - no secret
        self.proof = proof
        self._scorer = scorer_of(self.model, proof)
        self._inspector = inspector_of(self.model, contract, launch, proof)
        self._at_once = at_once

    def running(self) -> Running:
        """See `Wire.running`."""
        while (answer := self._inspector.answer(ask_running(1))) is None:
            self._inspector.settle()
        return running_of(answer)

    def ask(self, request: Request) -> Answer:
        """See `Wire.ask`."""
        return self.ask_many([request])[0]

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        """See `Wire.ask_many`."""
        found = []
        for at in range(0, len(requests), self._at_once):
            queued = [
                Queued(Frame(Kind.REQUEST, 1, body, format=format_of(type_)), 0.0)
                for body, type_ in requests[at : at + self._at_once]
            ]
            found += [Answer(each.status, each.body) for each in self._scorer.answer(queued)]
        return found

    def inspect(self, requests: Sequence[Request]) -> Inspection:
        """See `Wire.inspect`."""
        answer = self._inspector.answer(ask_stages(1, requests))
        if answer is None or answer.status != 200:
            raise WireLost("nothing" if answer is None else complaint(answer))
        return inspection_of(answer)
