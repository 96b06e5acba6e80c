"""What must happen once because of a step from one state to the next. Pure.

Effects follow from the two states alone, so no path through the machine can forget one.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from serinus.rollout.events import (
    Activate,
    DropUpdate,
    Effect,
    FailUpdate,
    MoveAlias,
    Notify,
    RememberRefused,
    Revert,
    Side,
)
from serinus.rollout.spec import Moment
from serinus.rollout.state import Cause, Decision, Phase, RolloutState

__all__ = ["consequences"]

_Make = Callable[[str], Effect]

_MOMENTS = {
    Phase.PAUSED: Moment.PAUSED,
    Phase.SUCCEEDED: Moment.SUCCEEDED,
    Phase.ROLLED_BACK: Moment.ROLLED_BACK,
    Phase.FAILED: Moment.FAILED,
}
#: Rollbacks that say nothing against the model itself.
_BLAMELESS = (Cause.SUPERSEDED, Cause.CANDIDATE_FAILED, Cause.FAULT)


def consequences(old: RolloutState, new: RolloutState) -> Decision:
    """``new`` with its effects counted, and the effects, in the order in which to do them."""
    made: list[_Make] = []
    if new.activated and not old.activated:
        made += [Activate, *_alias(new, Side.CANDIDATE)]
    if new.warned and not old.warned:
        made.append(partial(Notify, moment=Moment.WARNED, text=new.verified))
    if new.phase is not old.phase:
        if new.phase in (Phase.ROLLED_BACK, Phase.FAILED):
            made += _undone(old, new)
        if new.phase is Phase.SUCCEEDED and not new.activated:
            # It was never meant to serve, so its config must not stay pending.
            shadow = partial(FailUpdate, reason=new.reason)
            made.append(DropUpdate if new.spec.self_test else shadow)
        if new.phase in _MOMENTS:
            made.append(partial(Notify, moment=_MOMENTS[new.phase], text=new.reason))
    effects = tuple(
        make(f"{new.id}/{number}") for number, make in enumerate(made, start=new.effects + 1)
    )
    return Decision(replace(new, effects=new.effects + len(effects)), effects)


def _undone(old: RolloutState, new: RolloutState) -> list[_Make]:
    made: list[_Make]
    if new.spec.self_test:
        return [DropUpdate]  # what goes wrong with it speaks of the gate and not of stable's model
    if old.activated:
        made = [partial(Revert, reason=new.reason), *_alias(new, Side.STABLE)]
    else:
        made = [partial(FailUpdate, reason=new.reason)]
    if new.cause not in _BLAMELESS:
        made.append(partial(RememberRefused, digest=new.candidate_digest, reason=new.reason))
    return made


def _alias(state: RolloutState, side: Side) -> list[_Make]:
    return [partial(MoveAlias, to=side)] if state.spec.registry_alias else []
