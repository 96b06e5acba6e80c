"""The few ways in which a rollout's state changes. Each returns a new state and decides nothing.

A change of routing is always a new stage, and is in force only when every gateway acknowledged it.
"""

from dataclasses import replace
from datetime import datetime

from serinus.entities import WHOLE
from serinus.rollout.amount import show_duration, show_percent
from serinus.rollout.spec import NO_BAKE, Step, StepKind, Strategy, full_bp, program
from serinus.rollout.state import Cause, Override, Phase, Position, RolloutState

__all__ = [
    "ACKNOWLEDGEMENT",
    "bake",
    "enter",
    "finish",
    "natural_phase",
    "next_exposure",
    "pause",
    "reroute",
    "roll_back",
    "rolled_back",
    "settle",
    "stands_at_pause",
    "steps_of",
    "target_control_bp",
    "wait",
]

ACKNOWLEDGEMENT = "every gateway to serve by the new routing"
_AGAIN = "nothing; retry tries the same candidate again"
#: What regressed once is judged by the same evidence again, and at once.
_AGAINST = "nothing; a retry goes back at once by the same evidence, unless it forgets that"


def steps_of(state: RolloutState) -> tuple[Step, ...]:
    """The steps that this rollout runs, full weight last (also for a promoted shadow)."""
    steps = program(state.spec)
    if state.spec.strategy is Strategy.SHADOW and state.promoted:
        return (*steps, Step(StepKind.SET_WEIGHT, weight_bp=full_bp(state.spec)))
    return steps


def next_exposure(state: RolloutState) -> int:
    """The share, in basis points, that must be proved safe before the next step.

    To serve everybody takes the full proof, also when a bake holds some back at first; so does to
    pass a self-test, after whose last step nothing follows.
    """
    steps = steps_of(state)
    if state.position in (Position.BAKE, Position.SETTLE):
        return WHOLE
    start = state.step + 1 if state.position is Position.STEPS else 0
    rest = [step.weight_bp for step in steps[start:] if step.kind is StepKind.SET_WEIGHT]
    if not rest or (rest[0] == steps[-1].weight_bp and not state.spec.self_test):
        return WHOLE
    return rest[0]


def natural_phase(state: RolloutState) -> Phase:
    """The phase of its position when nothing pauses it."""
    match state.position:
        case Position.START:
            return Phase.PENDING
        case Position.VERIFY:
            return Phase.VERIFYING
        case Position.STEPS:
            shadowing = steps_of(state)[state.step].kind is StepKind.SHADOW
            return Phase.SHADOWING if shadowing else Phase.PROGRESSING
        case Position.BAKE:
            return Phase.BAKING
        case Position.SETTLE:
            if state.spec.self_test:
                return Phase.PROGRESSING
            return Phase.BAKING if state.activated else Phase.SHADOWING
        case Position.BACK:
            return Phase.ROLLING_BACK
        case Position.END:
            return state.phase


def stands_at_pause(state: RolloutState) -> bool:
    """It is at a pause of the plan that is neither approved nor over."""
    if state.position is not Position.STEPS or state.approved:
        return False
    return steps_of(state)[state.step].kind is StepKind.PAUSE


def wait(state: RolloutState, waiting_for: str) -> RolloutState:
    """It goes on from where it is once ``waiting_for`` is there."""
    if state.held:
        return state
    if state.phase is not Phase.PAUSED:
        return replace(state, waiting_for=waiting_for)
    return replace(
        state,
        phase=natural_phase(state),
        cause=None,
        waiting_for=waiting_for,
        reason="What it was paused for is over.",
    )


def pause(state: RolloutState, cause: Cause, reason: str, waiting_for: str) -> RolloutState:
    """It stands, with its weights as they are."""
    return replace(state, phase=Phase.PAUSED, cause=cause, reason=reason, waiting_for=waiting_for)


def reroute(
    state: RolloutState, *, candidate_bp: int, control_bp: int = 0, shadow_bp: int = 0
) -> RolloutState:
    """A new stage with these shares, not yet acknowledged."""
    return replace(
        state,
        candidate_bp=candidate_bp,
        control_bp=control_bp,
        shadow_bp=shadow_bp,
        stage=state.stage + 1,
        stage_at=None,
        exposed=state.exposed or candidate_bp > 0 or shadow_bp > 0,
    )


def target_control_bp(state: RolloutState, candidate_bp: int) -> int:
    """As much as the candidate, as long as both fit; above one half stable is the comparison."""
    fits = state.spec.control and 2 * candidate_bp <= WHOLE
    return candidate_bp if fits else 0


def enter(state: RolloutState, index: int, at: datetime, reason: str = "") -> RolloutState:
    """On to step ``index``; its routing, if it changes any, still has to be acknowledged."""
    step = steps_of(state)[index]
    first = state.position is not Position.STEPS
    entered = replace(
        state,
        position=Position.STEPS,
        step=index,
        approved=False,
        override=Override.NONE,
        cause=None,
        waiting_since=at,
    )
    if step.kind is StepKind.PAUSE:
        if first or state.shadow_bp:
            entered = reroute(entered, candidate_bp=state.candidate_bp, control_bp=state.control_bp)
        return _stand(entered, step)
    if step.kind is StepKind.SHADOW:
        moved = reroute(entered, candidate_bp=0, shadow_bp=step.shadow_bp)
        said = f"The candidate is sent copies of {show_percent(step.shadow_bp)} of the requests."
    else:
        moved = reroute(
            entered,
            candidate_bp=step.weight_bp,
            control_bp=target_control_bp(state, step.weight_bp),
        )
        said = f"The candidate takes {show_percent(step.weight_bp)}."
    return replace(
        moved, phase=natural_phase(moved), reason=reason or said, waiting_for=ACKNOWLEDGEMENT
    )


def _stand(state: RolloutState, step: Step) -> RolloutState:
    if step.for_s is None:
        at_share = f"at {show_percent(state.candidate_bp)}"
        return pause(
            state, Cause.APPROVAL, f"The plan stops here, {at_share}, for approval.", "approve"
        )
    spell = show_duration(step.for_s)
    return pause(state, Cause.STEP, f"The plan pauses here for {spell}.", f"{spell} to pass")


def bake(state: RolloutState, at: datetime) -> RolloutState:
    """Full weight is acknowledged: watched from now on, with the way back open."""
    rule = state.spec.bake or NO_BAKE
    return replace(
        state,
        phase=Phase.BAKING,
        position=Position.BAKE,
        activated=True,
        cause=None,
        override=Override.NONE,
        waiting_since=at,
        reason=f"The candidate serves {show_percent(state.candidate_bp)}; rollback stays armed.",
        waiting_for=f"{show_duration(rule.for_s)} of baking",
    )


def settle(state: RolloutState, at: datetime, *, candidate_bp: int, reason: str) -> RolloutState:
    """The last change of routing before success: the held-back share moves, or the shadow stops."""
    settled = replace(
        reroute(state, candidate_bp=candidate_bp),
        position=Position.SETTLE,
        cause=None,
        override=Override.NONE,
        waiting_since=at,
        reason=reason,
        waiting_for=ACKNOWLEDGEMENT,
    )
    return replace(settled, phase=natural_phase(settled))


def finish(state: RolloutState, at: datetime, reason: str) -> RolloutState:
    """Done and well. A candidate with weight is the active version from now on."""
    return replace(
        state,
        phase=Phase.SUCCEEDED,
        position=Position.END,
        activated=state.activated or state.candidate_bp > 0,
        cause=None,
        override=Override.NONE,
        ended_at=at,
        reason=reason,
        waiting_for="nothing",
    )


def roll_back(state: RolloutState, at: datetime, cause: Cause, reason: str) -> RolloutState:
    """Traffic off the candidate first; the rest follows when that is acknowledged."""
    return replace(
        reroute(state, candidate_bp=0),
        phase=Phase.ROLLING_BACK,
        position=Position.BACK,
        cause=cause,
        held=False,
        approved=False,
        override=Override.NONE,
        waiting_since=at,
        reason=reason,
        waiting_for="every gateway to serve without the candidate",
    )


def rolled_back(state: RolloutState, at: datetime) -> RolloutState:
    """No gateway serves by the candidate any more; stable serves alone."""
    return replace(
        state,
        phase=Phase.ROLLED_BACK,
        position=Position.END,
        activated=False,
        ended_at=at,
        waiting_for=_AGAINST if state.cause is Cause.REGRESSED else _AGAIN,
    )
