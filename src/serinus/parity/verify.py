"""The gates before traffic, in their order; see docs/how-to/verify-before-traffic.md.

It asks and compares; it never decides whether traffic moves.
"""

from collections.abc import Callable

from serinus.errors import SerinusError
from serinus.parity.contract import Origin
from serinus.parity.folder import Bundle
from serinus.parity.gates import environment, golden, identity, metric, paths, probes
from serinus.parity.gates.environment import environment_gate, lock_differences
from serinus.parity.gates.golden import Replay, replay
from serinus.parity.gates.identity import foreign_gate, identity_gate
from serinus.parity.gates.metric import metric_gate
from serinus.parity.gates.paths import paths_gate
from serinus.parity.gates.probes import probes_gate
from serinus.parity.verification import Difference, Gate, GateResult, Result, Verification
from serinus.parity.wire import Running, Wire, WireLost

__all__ = ["GATES", "unreachable", "unreadable", "verify"]

#: The names of the gates, in the order of proof.
GATES = (
    identity.NAME,
    environment.NAME,
    golden.NAME,
    "live_lookups",
    paths.NAME,
    probes.NAME,
    "shadow",
    metric.NAME,
)


def verify(
    bundle: Bundle,
    wire: Wire,
    running: Running,
    *,
    intended: str,
    foreign: SerinusError | None = None,
    at_once: int = 0,
) -> Verification:
    """Try every gate on a replica that runs.

    ``intended`` is the digest of the pinned model that should answer; ``foreign`` is why the
    contract is not this model's, where it is tried all the same; ``at_once`` is as for `replay`.
    Raises nothing for what the replica does: a replica that is lost on the way is a failed gate.
    """
    lock = running.lock
    differences = None if lock is None else lock_differences(bundle.contract, bundle.lock, lock)
    matters = any(each.matters for each in differences or ())
    lost: list[str] = []
    replayed = Replay(Gate(name=golden.NAME, result=GateResult.SKIPPED))

    def tried(name: str, gate: Callable[[], Gate]) -> Gate:
        if lost:
            return Gate(name=name, result=GateResult.SKIPPED, detail=f"No replica: {lost[0]}")
        try:
            return gate()
        except WireLost as error:
            lost.append(str(error))
            return Gate(name=name, result=GateResult.FAIL, fault="model.bug", detail=lost[0])

    def replayed_gate() -> Gate:
        nonlocal replayed
        replayed = replay(bundle, wire, running, environment_differs=matters, at_once=at_once)
        return replayed.gate

    who = foreign_gate(foreign) if foreign else identity_gate(bundle, running, intended)
    rows = tried(golden.NAME, replayed_gate)
    gates = [
        who,
        environment_gate(differences, golden_differs=replayed.differs),
        rows,
        _lookups(bundle),
        tried(paths.NAME, lambda: paths_gate(bundle, wire, running, replayed)),
        tried(probes.NAME, lambda: probes_gate(bundle, wire, running, replayed)),
        _no_shadow(),
        metric_gate(bundle, replayed),
    ]
    failed = any(each.result is GateResult.FAIL for each in gates)
    return Verification(
        result=Result.FAIL if failed else Result.PASS,
        gates=gates,
        notes=_notes(bundle, running, replayed),
        contract_id=bundle.id,
        model_digest=intended,
        rows=len(replayed.requests) if replayed.differs is not None else 0,
        differences=[Difference(**each._asdict()) for each in differences or ()],
    )


def unreadable(error: SerinusError, intended: str) -> Verification:
    """The report on a model whose contract can't be read or belongs to another model."""
    why = "The contract can't be used."
    rest = [Gate(name=each, result=GateResult.SKIPPED, detail=why) for each in GATES[1:]]
    return Verification(
        result=Result.FAIL, gates=[foreign_gate(error), *rest], model_digest=intended
    )


def unreachable(error: WireLost, bundle: Bundle, intended: str) -> Verification:
    """The report on a replica that is another one than was meant, or that gives no answer."""
    first = Gate(name=GATES[0], result=GateResult.FAIL, fault="routing", detail=str(error))
    why = "No replica could be asked."
    rest = [Gate(name=each, result=GateResult.SKIPPED, detail=why) for each in GATES[1:]]
    return Verification(
        result=Result.FAIL, gates=[first, *rest], contract_id=bundle.id, model_digest=intended
    )


def _lookups(bundle: Bundle) -> Gate:
    looked_up = [each.name for each in bundle.contract.fields if each.source.startswith("lookup:")]
    why = (
        f"There is no source to look up {', '.join(looked_up)} in."
        if looked_up
        else "The model looks nothing up."
    )
    return Gate(name="live_lookups", result=GateResult.SKIPPED, detail=why)


def _no_shadow() -> Gate:
    """What can be said before any traffic; a rollout that shadows says it afterwards."""
    return Gate(
        name="shadow",
        result=GateResult.SKIPPED,
        detail="There is no live traffic to compare on: that takes a rollout with a shadow step.",
    )


def _notes(bundle: Bundle, running: Running, replayed: Replay) -> list[str]:
    found = []
    contract = bundle.contract
    if contract.origin is Origin.DERIVED:
        found.append(
            "The contract is derived from MLflow's files: capture one at training to have answers "
            "held against."
        )
    if not running.batched:
        found.append(f"The model is served unbatched: {running.batching}.")
    for each in contract.metrics:
        if each.as_served is not None and each.masked:
            found.append(
                f"{each.name} is {each.offline:.3f} offline and {each.as_served:.3f} as served, "
                f"without {', '.join(each.masked)}."
            )
    for leak in contract.leaks:
        found.append(f"'{leak.field}' leaks ({leak.kind}): {leak.detail}.")
    return [*found, *replayed.notes]
