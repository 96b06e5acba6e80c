"""The truth about rollouts: a table of phases and events, and `decide`, which obeys it. Pure.

Rule 1. Whatever can happen to a rollout is in `TABLE`: (phase, event) → the phases it may lead to.
A pair that is not in it is refused with InvalidState; a result that is not in it is a bug, and
`decide` says so before anybody acts on it.
Rule 2. `decide` computes; it never acts. Routes and pools follow from the state
(`serinus.rollout.routing`), and only what must happen once is an effect.
Rule 3. Only a look at the world raises a weight. A verb leaves a wish, or takes the weight away.
The diagram in the docs is `mermaid()`.
"""

from dataclasses import replace

from serinus.errors import InternalError
from serinus.rollout import verbs
from serinus.rollout.amount import show_percent
from serinus.rollout.consequences import consequences
from serinus.rollout.events import (
    Abort,
    Approve,
    Diagnosed,
    Event,
    Fault,
    Observed,
    Pause,
    Promote,
    Resume,
    Retry,
    Superseded,
)
from serinus.rollout.moves import steps_of
from serinus.rollout.state import Decision, Phase, Position, RolloutState
from serinus.rollout.tick import look

__all__ = ["TABLE", "decide", "mermaid", "why"]

_P = Phase
_LIVE = tuple(phase for phase in Phase if not phase.terminal)
_MOVING = tuple(phase for phase in _LIVE if phase is not Phase.ROLLING_BACK)

TABLE: dict[tuple[Phase, type[Event]], frozenset[Phase]] = {
    (_P.PENDING, Observed): frozenset({_P.PENDING, _P.VERIFYING, _P.ROLLING_BACK, _P.ROLLED_BACK}),
    (_P.VERIFYING, Observed): frozenset(
        {_P.VERIFYING, _P.SHADOWING, _P.PROGRESSING, _P.PAUSED, _P.ROLLING_BACK, _P.ROLLED_BACK}
    ),
    (_P.SHADOWING, Observed): frozenset(
        {_P.SHADOWING, _P.PROGRESSING, _P.PAUSED, _P.SUCCEEDED, _P.ROLLING_BACK}
    ),
    (_P.PROGRESSING, Observed): frozenset(
        {
            _P.PROGRESSING,
            _P.SHADOWING,
            _P.PAUSED,
            _P.BAKING,
            _P.SUCCEEDED,
            _P.ROLLING_BACK,
            _P.ROLLED_BACK,
        }
    ),
    (_P.PAUSED, Observed): frozenset(
        {
            _P.PAUSED,
            _P.SHADOWING,
            _P.PROGRESSING,
            _P.BAKING,
            _P.SUCCEEDED,
            _P.ROLLING_BACK,
            _P.ROLLED_BACK,
        }
    ),
    (_P.BAKING, Observed): frozenset({_P.BAKING, _P.PAUSED, _P.SUCCEEDED, _P.ROLLING_BACK}),
    (_P.ROLLING_BACK, Observed): frozenset({_P.ROLLING_BACK, _P.ROLLED_BACK}),
    (_P.SHADOWING, Promote): frozenset({_P.SHADOWING}),
    (_P.PROGRESSING, Promote): frozenset({_P.PROGRESSING}),
    (_P.PAUSED, Promote): frozenset({_P.SHADOWING, _P.PROGRESSING, _P.BAKING}),
    (_P.BAKING, Promote): frozenset({_P.BAKING}),
    (_P.PAUSED, Resume): frozenset(
        {_P.PENDING, _P.VERIFYING, _P.SHADOWING, _P.PROGRESSING, _P.PAUSED, _P.BAKING}
    ),
    # Before any traffic, the yes is to a candidate that is not verified.
    (_P.PENDING, Approve): frozenset({_P.PENDING}),
    (_P.VERIFYING, Approve): frozenset({_P.VERIFYING}),
    (_P.PAUSED, Approve): frozenset({_P.PAUSED, _P.PROGRESSING}),
    (_P.ROLLED_BACK, Retry): frozenset({_P.PENDING}),
    **{(phase, Observed): frozenset({phase}) for phase in Phase if phase.terminal},
    **{(phase, Pause): frozenset({_P.PAUSED}) for phase in _MOVING},
    **{(phase, Abort): frozenset({_P.ROLLING_BACK}) for phase in _LIVE},
    **{(phase, Superseded): frozenset({_P.ROLLING_BACK}) for phase in _LIVE},
    **{(phase, Diagnosed): frozenset({phase}) for phase in _LIVE},
    **{(phase, Fault): frozenset({_P.FAILED}) for phase in _LIVE},
}


def decide(state: RolloutState, event: Event) -> Decision:
    """The state after ``event`` and its effects; raises InvalidState when it does not fit.

    Nothing new gives back the same state and no effects.
    """
    allowed = TABLE.get((state.phase, type(event)))
    if allowed is None:
        raise verbs.refused(state, type(event).__name__.lower())
    new = _apply(state, event)
    if new == state:
        return Decision(state)
    if new.phase not in allowed:
        raise InternalError(
            f"Rollout {state.id} would go from {state.phase.value} to {new.phase.value} "
            f"on {type(event).__name__}, which its table does not allow; nothing was changed."
        )
    return consequences(state, replace(new, updated_at=event.at))


def _apply(state: RolloutState, event: Event) -> RolloutState:
    match event:
        case Observed():
            return look(state, event)
        case Promote():
            return verbs.promote(state, event)
        case Pause():
            return verbs.stop(state, event)
        case Resume():
            return verbs.resume(state, event)
        case Approve():
            return verbs.approve(state, event)
        case Abort():
            return verbs.abort(state, event)
        case Retry():
            return verbs.retry(state, event)
        case Superseded() | Diagnosed() | Fault():
            return _told(state, event)


def _told(state: RolloutState, event: Superseded | Diagnosed | Fault) -> RolloutState:
    match event:
        case Superseded():
            return verbs.supersede(state, event)
        case Diagnosed():
            return verbs.diagnosed(state, event)
        case Fault():
            return verbs.fault(state, event)


def mermaid() -> str:
    """The table as a Mermaid state diagram; what leads back to the same phase is left out."""
    edges: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, event), targets in TABLE.items():
        for target in targets:
            if target is not phase:
                edges.setdefault((phase, target), []).append(event.__name__)
    order = list(Phase)
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.PENDING.value}"]
    for source, target in sorted(
        edges, key=lambda edge: (order.index(edge[0]), order.index(edge[1]))
    ):
        events = ", ".join(sorted(edges[source, target]))
        lines.append(f"    {source.value} --> {target.value}: {events}")
    lines += [f"    {phase.value} --> [*]" for phase in Phase if phase.terminal]
    return "\n".join(lines)


def why(state: RolloutState) -> str:
    """Where it stands, why, and what it waits for; a few lines for a person."""
    lines = [f"{state.phase.value}: {state.reason}"]
    if state.position is Position.STEPS:
        steps = steps_of(state)
        lines.append(f"Step {state.step + 1} of {len(steps)}: {steps[state.step].kind.value}.")
    lines.append(
        f"The candidate takes {show_percent(state.candidate_bp)} of the requests"
        + (f" and copies of {show_percent(state.shadow_bp)}" if state.shadow_bp else "")
        + (
            ""
            if state.stage_at or state.phase.terminal
            else ", not yet acknowledged by every gateway"
        )
        + "."
    )
    if state.verified:
        lines.append(state.verified)
    if state.fault:
        lines.append(f"The last diagnosis of the candidate is {state.fault}.")
    lines.append(f"It waits for {state.waiting_for}.")
    if not state.spec.guardrails:
        lines.append("It has no guardrails: it goes by time and approvals, as its spec says.")
    return "\n".join(lines)
