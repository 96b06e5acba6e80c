"""Walks every reachable state of a small rollout plan and checks each step against the rules.

The checks are in `tests.unit.rollout.rules`. Time is symbolic: a look comes
at once, after the least time a step lasts, or after the patience is over; ages are kept in those
three classes, stages as "acknowledged or not", so the walk is finite.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from serinus.entities import WHOLE
from serinus.errors import InvalidState
from serinus.rollout.events import (
    Abort,
    Approve,
    Diagnosed,
    Event,
    Facts,
    Fault,
    GuardrailVerdict,
    Observed,
    Pause,
    PoolState,
    Promote,
    Resume,
    Retry,
    Superseded,
    Verdict,
    Verification,
)
from serinus.rollout.spec import (
    RolloutSpec,
)
from serinus.rollout.state import Phase, Position, RolloutState, begin
from tests.unit.rollout.rules import (
    LEAST,
    NOW,
    PATIENCE,
    REAL,
    Ghost,
    Rules,
    check_effects,
    check_look,
    check_movement,
    check_pools,
    check_refusal,
    check_routing,
    check_verb,
)


@dataclass
class Walk:
    """What a walk saw."""

    nodes: dict[tuple, tuple[RolloutState, Ghost]] = field(default_factory=dict)
    steps: int = 0
    edges: set[tuple[Phase, type, Phase]] = field(default_factory=set)


def start(spec: RolloutSpec) -> RolloutState:
    return begin(
        id="r",
        endpoint="e",
        spec=spec,
        stable="v1",
        candidate="v2",
        candidate_digest="d2",
        config_version=2,
        actor="mia",
        at=NOW,
    )


def verdicts(*said: tuple[Verdict, int]) -> tuple[GuardrailVerdict, ...]:
    names = ("error_rate", "predictions")
    return tuple(
        GuardrailVerdict(name, verdict, "measured", safe)
        for name, (verdict, safe) in zip(names, said, strict=False)
    )


_SAFE = (Verdict.SAFE, WHOLE)
ALL_SAFE = verdicts(_SAFE, _SAFE)
REGRESSED = verdicts((Verdict.REGRESSED, 0), _SAFE)
HELD = verdicts(_SAFE, (Verdict.REGRESSED, 0))
SILENT = verdicts((Verdict.NO_DATA, 0), _SAFE)
OPEN = verdicts(_SAFE, (Verdict.UNDECIDED, 0))
TORN = verdicts((Verdict.INVALID, 0), _SAFE)
MISSING = verdicts(_SAFE)
SHORT = verdicts(_SAFE, (Verdict.SAFE, 500))
HALFWAY = verdicts((Verdict.SAFE, WHOLE - 1), _SAFE)
EVERY = (ALL_SAFE, REGRESSED, HELD, SILENT, OPEN, TORN, MISSING, SHORT, HALFWAY)


def looks(state: RolloutState) -> Iterator[tuple[float, Facts]]:  # noqa: C901 - one list
    """Every combination of facts that can matter to this state, with how much later it comes."""
    ready, starting, failed = PoolState.READY, PoolState.STARTING, PoolState.FAILED
    here = Facts(ready, acknowledged_stage=state.stage, acknowledged_at=NOW)
    if state.position in (Position.START, Position.VERIFY):
        for candidate in (ready, starting, failed):
            for stable in (True, False):
                for verified in Verification:
                    for said in ((), REGRESSED):
                        yield (
                            0.0,
                            replace(
                                here,
                                candidate=candidate,
                                stable_ready=stable,
                                verification=verified,
                                verdicts=said,
                            ),
                        )
        return
    known = replace(here, verification=Verification.PASS)
    shadow = state.position is Position.STEPS and state.shadow_bp
    for later in (0.0, LEAST, PATIENCE):
        for requests in (0, 10) if shadow else (0,):
            for said in EVERY:
                yield later, replace(known, verdicts=said, shadow_requests=requests)
    full = replace(known, verdicts=ALL_SAFE, shadow_requests=10)
    for later in (LEAST, PATIENCE):
        yield later, replace(full, acknowledged_stage=state.stage - 1)
        yield later, replace(full, candidate=starting)
        yield later, replace(full, stable_ready=False)
        if state.spec.control:
            yield later, replace(full, control=starting)
            yield later, replace(full, control=failed)
    yield LEAST, replace(full, candidate=failed)
    yield LEAST, replace(full, candidate=starting, verdicts=REGRESSED)
    yield LEAST, replace(full, stable_ready=False, verdicts=REGRESSED)
    yield PATIENCE, replace(full, acknowledged_stage=state.stage - 1, verdicts=REGRESSED)
    yield PATIENCE, replace(full, acknowledged_stage=state.stage - 1, verdicts=SILENT)


def verbs() -> tuple[Event, ...]:
    return (
        Promote(NOW, "mia"),
        Promote(NOW, "mia", full=True),
        Pause(NOW, "mia"),
        Resume(NOW, "mia"),
        Approve(NOW, "mia"),
        Approve(NOW, "mia", waive="known"),
        Abort(NOW, "mia", "enough"),
        Retry(NOW, "mia"),
        Retry(NOW, "mia", waive="known"),
        Superseded(NOW, "models:/m/3"),
        Fault(NOW, "disk full"),
    )


#: What only the plans named so are told: it doubles the states of a plan.
DIAGNOSES = (Diagnosed(NOW, "mia", "model.bug (exact)"), Diagnosed(NOW, "mia"))


def walk(spec: RolloutSpec, rules: Rules = REAL, *, told: Sequence[Event] = ()) -> Walk:
    """Every reachable state of ``spec``; AssertionError at the first step that breaks a rule.

    ``told``: what is said to it beside the verbs.
    """
    seen = Walk()
    first = (canon(start(spec), NOW), Ghost())
    seen.nodes[key(*first)] = first
    queue = [first]
    while queue:
        state, ghost = queue.pop()
        events: list[Event] = [*verbs(), *told]
        events += [Observed(NOW + timedelta(seconds=dt), facts) for dt, facts in looks(state)]
        for event in events:
            seen.steps += 1
            new, beside = step(state, ghost, event, rules)
            if new is state:
                continue
            seen.edges.add((state.phase, type(event), new.phase))
            node = (canon(new, event.at), beside)
            name = key(*node)
            if name not in seen.nodes:
                seen.nodes[name] = node
                queue.append(node)
    return seen


def canon(state: RolloutState, at: datetime) -> RolloutState:
    """The state as of `NOW`, with ages in classes and everything that only counts left out."""

    def age(moment: datetime) -> datetime:
        seconds = (at - moment).total_seconds()
        kept = max(known for known in (0.0, LEAST, PATIENCE) if known <= max(seconds, 0.0))
        return NOW - timedelta(seconds=kept)

    return replace(
        state,
        updated_at=NOW,
        stage=1,
        stage_at=None if state.stage_at is None else age(state.stage_at),
        waiting_since=age(state.waiting_since),
        ended_at=None if state.ended_at is None else NOW,
        effects=0,
        attempt=1,
        # What facts are made of, and what people read: the machine does not look at it.
        waived="",
        verified="",
        reason="As before.",
        waiting_for="as before",
    )


def key(state: RolloutState, ghost: Ghost) -> tuple:
    return (
        state.phase,
        state.position,
        state.cause,
        state.step,
        state.candidate_bp,
        state.control_bp,
        state.shadow_bp,
        state.stage_at,
        state.waiting_since,
        state.approved,
        state.held,
        state.override,
        state.promoted,
        state.exposed,
        state.activated,
        state.warned,
        state.fault,
        ghost,
    )


def step(
    state: RolloutState, ghost: Ghost, event: Event, rules: Rules
) -> tuple[RolloutState, Ghost]:
    """One step of the machine under test, checked."""
    try:
        decision = rules.decide(state, event)
    except InvalidState as refusal:
        check_refusal(state, event, refusal)
        return state, ghost
    new = decision.state
    if new is not state:
        assert new.reason, "no reason"
        assert new.waiting_for, "nothing said of what it waits for"
    check_routing(state, new, rules)
    check_pools(new, event.at, rules)
    check_movement(state, new, event)
    if isinstance(event, Observed):
        check_look(state, new, event)
    else:
        check_verb(state, new, event)
    return new, check_effects(state, new, ghost, decision.effects)
