"""Rows ↔ rollouts. No queries in here, and nothing that decides."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from serinus.errors import InternalError
from serinus.rollout.state import RolloutState
from serinus.store.instants import from_millis, to_millis

__all__ = ["StoredRollout", "Unreadable", "readable", "rollout_of", "rollout_row"]


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """A rollout's state, and the configs that it moves between."""

    endpoint_id: str
    stable_version: int
    target_version: int
    state: RolloutState
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A rollout under way whose state can't be decoded: all that its row still says, and why."""

    id: str
    endpoint_id: str
    stable_version: int
    target_version: int
    revision: int
    started_at: datetime
    why: str


def rollout_row(rollout: StoredRollout) -> dict[str, Any]:
    """The rollout as its row; `rollout_of` reads it."""
    state = rollout.state
    return {
        "id": state.id,
        "endpoint_id": rollout.endpoint_id,
        "stable_version": rollout.stable_version,
        "target_version": rollout.target_version,
        "phase": state.phase.value,
        "state": msgspec.to_builtins(state),
        "revision": rollout.revision,
        "started_at": to_millis(state.started_at),
        "ended_at": to_millis(state.ended_at) if state.ended_at else None,
    }


def rollout_of(row: Row[Any]) -> StoredRollout:
    """The rollout of a row; raises InternalError for a state that can't be decoded."""
    try:
        state = msgspec.convert(row.state, RolloutState)
    except msgspec.ValidationError as error:
        raise InternalError(
            f"The stored state of rollout {row.id} can't be read ({error}). Stable serves; start a "
            f"new rollout, and keep a copy of the store for whoever looks into it."
        ) from error
    return StoredRollout(
        row.endpoint_id, row.stable_version, row.target_version, state, row.revision
    )


def readable(row: Row[Any]) -> StoredRollout | Unreadable | None:
    """The rollout of a row, or what is left of it; None for one that is over and can't be read."""
    try:
        return rollout_of(row)
    except InternalError as error:
        if row.ended_at is not None:
            return None
        return Unreadable(
            row.id,
            row.endpoint_id,
            row.stable_version,
            row.target_version,
            row.revision,
            from_millis(row.started_at),
            str(error.__cause__),
        )
