"""What must be so because of where a rollout stands: who gets which share, which pools run.

Pure functions of the state, so that asking twice, or after a crash, gives the same answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from serinus.entities import WHOLE
from serinus.rollout.state import Phase, RolloutState

__all__ = ["Routing", "pools", "routing"]


@dataclass(frozen=True, slots=True)
class Routing:
    """What gateways must do now; the shares of stable, candidate and control sum to `WHOLE`."""

    candidate_bp: int
    control_bp: int
    shadow_bp: int
    #: Grows with every change of the three above.
    stage: int

    @property
    def stable_bp(self) -> int:
        """All that is left for stable (in a bake: the holdback)."""
        return WHOLE - self.candidate_bp - self.control_bp


def routing(state: RolloutState) -> Routing:
    """The routing that this state asks for."""
    return Routing(state.candidate_bp, state.control_bp, state.shadow_bp, state.stage)


def pools(state: RolloutState, at: datetime) -> frozenset[str]:
    """Which of ``stable``, ``candidate`` and ``control`` must run at ``at``.

    Whoever carries weight runs. After the end the side that lost stays warm for
    ``rollback.keep_warm``; before the end both always run, so a way back needs no start.
    """
    control = {"control"} if _wants_control(state) else set()
    if state.phase is Phase.FAILED:
        return frozenset({"stable", "candidate"})  # a person must look before anything goes
    if state.phase not in (Phase.SUCCEEDED, Phase.ROLLED_BACK):
        return frozenset({"stable", "candidate"} | control)
    winner = "candidate" if state.candidate_bp else "stable"
    if not (state.exposed or state.activated) or state.spec.self_test:
        return frozenset({winner})  # it never came up, or is stable again: nothing to keep warm
    warm_until = (state.ended_at or at) + timedelta(seconds=state.spec.rollback.keep_warm_s)
    return frozenset({"stable", "candidate"}) if at < warm_until else frozenset({winner})


def _wants_control(state: RolloutState) -> bool:
    """Until the last candidate-free routing is acknowledged, what carries control weight stays."""
    return state.spec.control
