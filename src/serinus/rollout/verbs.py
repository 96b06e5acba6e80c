"""What people (and a newer candidate) may say to a rollout. Pure.

A verb never raises a weight itself: it leaves a wish in the state, and the next look, which knows
whether the pools are ready, carries it out. What lowers weights (abort) acts at once.
"""

from dataclasses import replace

from serinus.errors import InvalidState
from serinus.rollout.amount import show_percent
from serinus.rollout.events import (
    Abort,
    Approve,
    Diagnosed,
    Fault,
    Pause,
    Promote,
    Resume,
    Retry,
    Superseded,
)
from serinus.rollout.moves import (
    natural_phase,
    pause,
    reroute,
    roll_back,
    stands_at_pause,
    steps_of,
)
from serinus.rollout.spec import Strategy
from serinus.rollout.state import Cause, Override, Phase, Position, RolloutState

__all__ = [
    "abort",
    "approve",
    "diagnosed",
    "fault",
    "promote",
    "refused",
    "resume",
    "retry",
    "stop",
    "supersede",
]

_READY = (Position.STEPS, Position.BAKE, Position.SETTLE)


def promote(state: RolloutState, event: Promote) -> RolloutState:
    """Past whatever it waits for: the person's word instead of the evidence."""
    if state.position not in _READY:
        raise refused(state, "promote")
    full = event.full or state.override is Override.FULL
    where = "to full weight" if full else "to the next step"
    promoted = replace(
        state,
        override=Override.FULL if full else Override.NEXT,
        promoted=state.promoted or state.spec.strategy is Strategy.SHADOW,
        held=False,
        cause=None,
        reason=f"{event.actor} promoted it {where}, whatever the guardrails say.",
        waiting_for="the next look at gateways and pools",
    )
    return replace(promoted, phase=natural_phase(promoted))


def stop(state: RolloutState, event: Pause) -> RolloutState:
    """Stay as it is until somebody says otherwise."""
    told = f"{event.actor} paused it at {show_percent(state.candidate_bp)}."
    return replace(pause(state, Cause.USER, told, "resume"), held=True)


def resume(state: RolloutState, event: Resume) -> RolloutState:
    """Lift a person's pause, or give a timed-out step its time again."""
    if not state.held and state.cause not in (Cause.UNDECIDED, Cause.NO_DATA):
        raise refused(state, "resume")
    told = f"{event.actor} resumed it."
    if stands_at_pause(state):
        return _restand(replace(state, held=False), told)
    resumed = replace(
        state,
        held=False,
        cause=None,
        waiting_since=event.at,
        reason=told,
        waiting_for="the next look at gateways, pools and evidence",
    )
    return replace(resumed, phase=natural_phase(resumed))


def _restand(state: RolloutState, told: str) -> RolloutState:
    timed = steps_of(state)[state.step].for_s is not None
    cause, waiting = (Cause.STEP, "its time to pass") if timed else (Cause.APPROVAL, "approve")
    return pause(state, cause, f"{told} The plan itself pauses here.", waiting)


def approve(state: RolloutState, event: Approve) -> RolloutState:
    """Yes to the pause that it stands at; the evidence still has its say."""
    if event.waive:
        return _waive(state, event)
    if not stands_at_pause(state) or steps_of(state)[state.step].for_s is not None:
        raise refused(state, "approve")
    approved = replace(state, approved=True, waiting_since=event.at)
    if state.held:
        return approved
    return replace(
        approved,
        phase=natural_phase(approved),
        cause=None,
        reason=f"{event.actor} approved it at {show_percent(state.candidate_bp)}.",
        waiting_for="the next look at gateways, pools and evidence",
    )


def _waive(state: RolloutState, event: Approve) -> RolloutState:
    """By the verification, whatever it says: the reason stays with the rollout."""
    if state.position not in (Position.START, Position.VERIFY):
        raise refused(state, "waive")
    waived = replace(state, waived=f"{event.actor}: {event.waive.rstrip('.')}")
    if state.held:
        return waived
    return replace(waived, reason=f"{event.actor} waived its verification.")


def abort(state: RolloutState, event: Abort) -> RolloutState:
    """Back to stable; said twice it is the same as once."""
    if state.position is Position.BACK:
        return state
    why = f": {event.reason.rstrip('.')}" if event.reason else ""
    return roll_back(state, event.at, Cause.ABORTED, f"{event.actor} aborted it{why}.")


def supersede(state: RolloutState, event: Superseded) -> RolloutState:
    """Stable stays; this candidate makes room for the newer one."""
    if state.position is Position.BACK:
        return state
    told = f"A newer candidate came: {event.by}."
    return roll_back(state, event.at, Cause.SUPERSEDED, told)


def retry(state: RolloutState, event: Retry) -> RolloutState:
    """The same candidate from the start; its stages go on counting, its evidence is kept."""
    attempt = state.attempt + 1
    return replace(
        state,
        phase=Phase.PENDING,
        position=Position.START,
        cause=None,
        step=0,
        approved=False,
        held=False,
        override=Override.NONE,
        promoted=False,
        exposed=False,
        activated=False,
        waived=f"{event.actor}: {event.waive.rstrip('.')}" if event.waive else state.waived,
        verified="",
        warned=False,
        fault="",
        attempt=attempt,
        evidence_key=f"{state.id}#{attempt}" if event.fresh_evidence else state.evidence_key,
        ended_at=None,
        waiting_since=event.at,
        reason=f"{event.actor} tries it again (attempt {attempt}).",
        waiting_for="the candidate to be ready",
    )


def diagnosed(state: RolloutState, event: Diagnosed) -> RolloutState:
    """What was found; whether it holds anything up is said by the next look."""
    return replace(state, fault=event.fault)


def fault(state: RolloutState, event: Fault) -> RolloutState:
    """The controller gives up on it: stable serves, nothing is retired, a person must look."""
    return replace(
        reroute(state, candidate_bp=0),
        phase=Phase.FAILED,
        position=Position.END,
        cause=Cause.FAULT,
        activated=False,
        held=False,
        override=Override.NONE,
        ended_at=event.at,
        reason=f"The controller could not carry it on: {event.reason.rstrip('.')}.",
        waiting_for="nothing; start a new rollout when the fault is mended",
    )


def refused(state: RolloutState, verb: str) -> InvalidState:
    """Why this verb does not fit now, and what would."""
    name = f"Rollout {state.id}"
    verb = {"superseded": "be superseded", "fault": "fail"}.get(verb, verb)
    if state.phase.terminal:
        way = "retry it, or start" if state.phase is Phase.ROLLED_BACK else "start"
        told = f"{name} is over ({state.phase.value}), so it cannot {verb}; {way} a new one."
    elif state.position is Position.BACK:
        told = (
            f"{name} is rolling back already, so it cannot {verb}; wait until it has, then retry."
        )
    elif verb == "waive":
        told = f"{name} has no verification before it: it waits for {state.waiting_for}."
    elif verb == "approve":
        told = f"{name} has nothing to approve: it waits for {state.waiting_for}."
    elif verb == "resume":
        told = f"{name} is not paused by a person: it waits for {state.waiting_for}."
    elif verb == "retry":
        told = f"{name} is still under way ({state.phase.value}); abort it before a retry."
    else:
        told = (
            f"{name} cannot {verb} before the candidate is ready and verified: "
            f"it waits for {state.waiting_for}."
        )
    return InvalidState(told)
