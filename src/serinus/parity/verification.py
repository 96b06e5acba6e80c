"""What a verification found: one result per gate, in the order in which they were tried.

Only values; `serinus.parity.verify` finds them, everything above stores and shows them.
"""

from enum import Enum

import msgspec

__all__ = ["Difference", "Gate", "GateResult", "Result", "Verification", "with_gate"]


class GateResult(Enum):
    """How one gate ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIPPED = "skipped"


class Result(Enum):
    """How a verification ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    #: Somebody let it through; who and why is beside it.
    WAIVED = "waived"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One check before traffic."""

    name: str
    result: GateResult
    #: The class of fault that a failure proves, e.g. ``preprocessing.transform``; "" unless failed.
    fault: str = msgspec.field(default="", name="class")
    #: The first stage that differs (``S1`` … ``S5``, ``answer``); "" when no stage is concerned.
    stage: str = ""
    #: What was compared, or why it was not; on a failure the row, what was expected and what came.
    detail: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in the environment that is otherwise than at training."""

    name: str
    trained: str
    running: str
    #: Known to be able to change an answer.
    matters: bool


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The report on one model version."""

    result: Result
    gates: list[Gate]
    #: What is worth knowing and fails nothing, e.g. that the model is served unbatched.
    notes: list[str] = []
    contract_id: str = ""
    model_digest: str = ""
    #: Golden rows that were replayed.
    rows: int = 0
    #: Between the environment of training and that of the replica, what matters first.
    differences: list[Difference] = []

    @property
    def failed(self) -> Gate | None:
        """The first gate that failed."""
        return next((each for each in self.gates if each.result is GateResult.FAIL), None)


def with_gate(report: Verification, gate: Gate) -> Verification:
    """The report with this gate in the place of the one of its name; it fails when that fails."""
    gates = [gate if each.name == gate.name else each for each in report.gates]
    if gate not in gates:
        gates.append(gate)
    failed = gate.result is GateResult.FAIL
    result = Result.FAIL if failed else report.result
    return msgspec.structs.replace(report, gates=gates, result=result)
