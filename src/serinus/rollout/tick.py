"""One look at the world: what an `Observed` does at each position. Pure.

Order of questions, everywhere: must it go back? does a person hold it? is the routing acknowledged?
are the pools ready? did a person override? what does the evidence say?
"""

from dataclasses import replace
from datetime import datetime, timedelta

from serinus.entities import WHOLE
from serinus.rollout.amount import show_duration, show_percent
from serinus.rollout.events import Facts, Observed, PoolState, Verification
from serinus.rollout.gate import Closed, danger, gate, summary
from serinus.rollout.moves import (
    ACKNOWLEDGEMENT,
    bake,
    enter,
    finish,
    next_exposure,
    pause,
    reroute,
    roll_back,
    rolled_back,
    settle,
    stands_at_pause,
    steps_of,
    target_control_bp,
    wait,
)
from serinus.rollout.spec import NO_BAKE, AdvanceRule, OnSilence, Step, StepKind, Strategy
from serinus.rollout.state import Cause, Override, Phase, Position, RolloutState

__all__ = ["look"]

_VERIFIED = {
    Verification.PASS: "It was verified before any traffic",
    Verification.WAIVED: "It was not verified before any traffic",
    Verification.WARNED: "Verification before any traffic failed, which only warns",
}


def look(state: RolloutState, event: Observed) -> RolloutState:
    """The state after this look; the same state when nothing is to be done."""
    facts, at = event.facts, event.at
    if state.position is Position.END:
        return state
    if state.position is Position.BACK:
        gone = facts.acknowledged_stage == state.stage
        return rolled_back(state, at) if gone else state
    back = _must_go_back(state, facts, at)
    if back is not None:
        return back
    state = _acknowledged(state, facts, at)
    state = _without_failed_control(state, facts)
    if state.held:
        return state
    match state.position:
        case Position.START:
            return _start(state, facts)
        case Position.VERIFY:
            return _verify(state, facts, at)
        case Position.STEPS:
            return _steps(state, facts, at)
        case Position.BAKE:
            return _bake(state, facts, at)
        case _:
            return _settle(state, facts, at)


def _must_go_back(state: RolloutState, facts: Facts, at: datetime) -> RolloutState | None:
    if facts.candidate is PoolState.FAILED:
        reason = facts.candidate_reason or "it does not stay up"
        told = f"The candidate failed: {reason.rstrip('.')}."
        back = roll_back(state, at, Cause.CANDIDATE_FAILED, told)
        # Nobody was ever sent to it, so there is nothing to wait for.
        return back if state.exposed else rolled_back(back, at)
    found = danger(state.spec, facts)
    if found is not None:
        return roll_back(state, at, found.cause, found.reason)
    early = state.position in (Position.START, Position.VERIFY)
    if early and facts.verification is Verification.FAIL:
        reason = facts.verification_reason or "see its report"
        told = (
            f"Verification before any traffic failed: {reason.rstrip('.')}. Mend the model, or say "
            f"why it may serve all the same: serinus rollout retry {state.endpoint} "
            f"--waive-verification REASON"
        )
        return roll_back(state, at, Cause.VERIFICATION_FAILED, told)
    return None


def _acknowledged(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    if state.stage_at is not None or facts.acknowledged_stage != state.stage:
        return state
    stage_at = facts.acknowledged_at or at
    return replace(state, stage_at=stage_at, waiting_since=stage_at)


def _without_failed_control(state: RolloutState, facts: Facts) -> RolloutState:
    if not state.control_bp or facts.control is not PoolState.FAILED:
        return state
    told = "The control pool failed; stable serves its share again."
    moved = reroute(state, candidate_bp=state.candidate_bp, shadow_bp=state.shadow_bp)
    return replace(moved, reason=told)


def _start(state: RolloutState, facts: Facts) -> RolloutState:
    if facts.candidate is not PoolState.READY:
        return wait(state, "the candidate to be ready")
    return replace(
        state,
        phase=Phase.VERIFYING,
        position=Position.VERIFY,
        reason="The candidate is ready.",
        waiting_for="verification before any traffic",
    )


def _verify(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    if facts.verification not in _VERIFIED:
        return wait(state, "verification before any traffic")
    told = facts.verification_reason
    if told:
        told = f"{_VERIFIED[facts.verification]}: {told.rstrip('.')}."
    warned = facts.verification is Verification.WARNED
    return _proceed(replace(state, verified=told, warned=warned), facts, at, 0)


def _steps(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    if stands_at_pause(state):
        if state.override is Override.NONE and not _pause_over(state, at):
            return state
        state = replace(state, approved=True, waiting_since=at)
    if state.stage_at is None:
        return wait(state, ACKNOWLEDGEMENT)
    if facts.candidate is not PoolState.READY:
        return wait(state, "the candidate to recover")
    if state.override is not Override.NONE:
        return _overridden(state, facts, at)
    steps = steps_of(state)
    step = steps[state.step]
    last = state.step == len(steps) - 1 and not state.spec.self_test
    if last and step.kind is StepKind.SET_WEIGHT:
        done = f"{show_percent(state.candidate_bp)} of the requests are answered by the candidate."
        return bake(state, at) if state.spec.bake else finish(state, at, done)
    match step.kind:
        case StepKind.PAUSE:
            return _by_evidence(state, facts, at)
        case StepKind.SHADOW:
            return _shadow_step(state, facts, at, step)
        case StepKind.SET_WEIGHT:
            return _weight_step(state, facts, at)


def _overridden(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    last = len(steps_of(state)) - 1
    if state.spec.self_test and (state.override is Override.FULL or state.step == last):
        told = f"{state.reason} The self-test is over; verdicts: {summary(state.spec, facts)}."
        return settle(state, at, candidate_bp=0, reason=told)
    # A shadow rollout has one place to be promoted to; the others may go step by step.
    leap = state.override is Override.FULL or state.spec.strategy is Strategy.SHADOW
    return _proceed(state, facts, at, last if leap else min(state.step + 1, last), state.reason)


def _pause_over(state: RolloutState, at: datetime) -> bool:
    spell = steps_of(state)[state.step].for_s
    return spell is not None and state.stage_at is not None and _waited(state, at) >= spell


def _shadow_step(state: RolloutState, facts: Facts, at: datetime, step: Step) -> RolloutState:
    enough = step.requests is not None and facts.shadow_requests >= step.requests
    over = step.for_s is not None and _lasted(state, at) >= step.for_s
    if enough or (over and facts.shadow_requests > 0):
        return _by_evidence(state, facts, at)
    if step.requests is not None:
        waiting = f"{step.requests} requests to be shadowed"
    else:
        waiting = f"{show_duration(step.for_s or 0)} of shadowed requests"
    alarm = _alarm(state, facts)
    if alarm is not None:
        return _closed(state, at, alarm)
    if not _patience_over(state, at):
        return wait(state, waiting)
    return _closed(state, at, Closed(Cause.NO_DATA, waiting))


def _weight_step(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    alarm = _alarm(state, facts)
    if alarm is not None:
        return _closed(state, at, alarm)
    rule, limits = state.spec.advance, state.spec.step
    least = max(limits.min_duration_s, limits.warmup_s)
    if rule.rule is AdvanceRule.AFTER:
        least = max(least, rule.after_s)
    if _lasted(state, at) < least:
        return wait(state, f"{show_duration(least)} at {show_percent(state.candidate_bp)}")
    return _by_evidence(state, facts, at)


def _alarm(state: RolloutState, facts: Facts) -> Closed | None:
    """What stops it at once, however long the step still has to last."""
    return gate(state.spec, facts, now_bp=0, next_bp=0) or _diagnosed(state)


def _diagnosed(state: RolloutState) -> Closed | None:
    """A fault that was proved in what the candidate serves, unless the spec lets it pass."""
    if not state.fault or state.spec.on.diagnosis is not OnSilence.HOLD:
        return None
    text = (
        f"a diagnosis of the candidate without a fault (the last one is {state.fault}); promote "
        "overrides it, abort goes back"
    )
    return Closed(Cause.DIAGNOSED, text, f"the last diagnosis of the candidate is {state.fault}")


def _by_evidence(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    """The step has lasted long enough: on, if the evidence is there for what comes next."""
    passed = _judge(state, facts, at, next_bp=next_exposure(state))
    if passed is not None:
        return passed
    if state.step + 1 < len(steps_of(state)):
        return _proceed(state, facts, at, state.step + 1)
    what = "self-test" if state.spec.self_test else "shadow"
    told = f"The {what} is over; verdicts: {summary(state.spec, facts)}."
    return settle(state, at, candidate_bp=0, reason=told)


def _judge(
    state: RolloutState, facts: Facts, at: datetime, *, next_bp: int, compare: bool = True
) -> RolloutState | None:
    """None when the evidence lets it go on; else the state in which it waits or goes back."""
    ask = gate(state.spec, facts, now_bp=state.candidate_bp, next_bp=next_bp, compare=compare)
    if ask is None:
        found = _diagnosed(state)
        return None if found is None else _closed(state, at, found)
    forgiving = state.spec.on.no_data is OnSilence.ADVANCE
    if ask.cause is Cause.NO_DATA and forgiving and _patience_over(state, at):
        ask = gate(
            state.spec, facts, now_bp=state.candidate_bp, next_bp=next_bp, forgive_no_data=True
        )
        ask = ask or _diagnosed(state)
        if ask is None:
            return None
    return _closed(state, at, ask)


def _closed(state: RolloutState, at: datetime, ask: Closed) -> RolloutState:
    """Hold, pause or go back: what the spec says of this kind of silence."""
    if ask.cause in (Cause.REGRESSED, Cause.INVALID, Cause.DIAGNOSED):
        told = f"It stands because {ask.why}."
        return pause(state, ask.cause, told, ask.text)
    if not _patience_over(state, at):
        return wait(state, ask.text)
    on = state.spec.on
    choice = on.no_data if ask.cause is Cause.NO_DATA else on.undecided
    spell = show_duration(state.spec.step.timeout_s)
    if choice is OnSilence.ROLLBACK:
        told = f"No verdict within {spell}: it still needed {ask.text}."
        return roll_back(state, at, ask.cause, told)
    told = f"No verdict within {spell}; silence is not success."
    return pause(state, ask.cause, told, ask.text)


def _proceed(
    state: RolloutState, facts: Facts, at: datetime, index: int, reason: str = ""
) -> RolloutState:
    """To step ``index``, unless that gives weight to a pool that is not ready."""
    target = steps_of(state)[index]
    if facts.candidate is not PoolState.READY:
        return wait(state, "the candidate to recover")
    if target.kind is not StepKind.PAUSE and not facts.stable_ready:
        return wait(state, "stable to be ready again; weights do not rise without it")
    if target_control_bp(state, target.weight_bp) and facts.control is not PoolState.READY:
        return wait(state, "the control pool to be ready")
    return enter(state, index, at, reason)


def _bake(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    rule = state.spec.bake or NO_BAKE
    if facts.candidate is not PoolState.READY:
        return wait(state, "the candidate to recover")
    if state.override is Override.NONE:
        alarm = _alarm(state, facts)
        if alarm is not None:
            return _closed(state, at, alarm)
        if _lasted(state, at) < rule.for_s:
            return wait(state, f"{show_duration(rule.for_s)} of baking")
        over_at = (state.stage_at or at) + timedelta(seconds=rule.for_s)
        state = replace(state, waiting_since=max(over_at, state.waiting_since))
        held = _judge(state, facts, at, next_bp=WHOLE, compare=rule.holdback_bp > 0)
        if held is not None:
            return held
    told = "The bake is over."
    if not rule.holdback_bp:
        return finish(state, at, f"{told} All requests are answered by the candidate.")
    if not facts.stable_ready:
        return wait(state, "stable to be ready again; weights do not rise without it")
    return settle(state, at, candidate_bp=WHOLE, reason=f"{told} The held-back share moves too.")


def _settle(state: RolloutState, facts: Facts, at: datetime) -> RolloutState:
    if state.stage_at is None:
        return wait(state, ACKNOWLEDGEMENT)
    promoted = state.override is not Override.NONE and not state.spec.self_test
    if promoted and not state.activated:
        return _proceed(state, facts, at, len(steps_of(state)) - 1, state.reason)
    return finish(state, at, state.reason)


def _waited(state: RolloutState, at: datetime) -> float:
    return (at - state.waiting_since).total_seconds()


def _lasted(state: RolloutState, at: datetime) -> float:
    """Seconds since every gateway acknowledged the stage; nothing counts before."""
    return (at - (state.stage_at or at)).total_seconds()


def _patience_over(state: RolloutState, at: datetime) -> bool:
    return _waited(state, at) >= state.spec.step.timeout_s
