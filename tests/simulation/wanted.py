"""What the store asks for at this moment: the monitor's idea of it, not the controller's."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from serinus.entities import ConfigUpdate, EndpointConfig
from serinus.rollout.state import Phase
from serinus.store.rollouts import StoredRollout
from serinus.testing.memory import EndpointRow, Tables

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["ENDED", "Wanted", "digest_of"]

ENDED = (Phase.SUCCEEDED, Phase.ROLLED_BACK)


class Wanted:
    """Endpoints, configs and pools as the world's store has them now."""

    def __init__(self, world: "World") -> None:
        self._world = world

    @property
    def _rows(self) -> Tables:
        return self._world.store.memory.now

    def endpoint(self, name: str) -> EndpointRow | None:
        for row in self._rows.endpoints.values():
            if row.bare.name == name and not row.bare.deleted:
                return row
        return None

    def governing(self, endpoint_id: str) -> StoredRollout | None:
        for rollout in self._rows.rollouts.values():
            if rollout.endpoint_id == endpoint_id and rollout.state.phase not in ENDED:
                return rollout
        return None

    def configs(self, endpoint_id: str) -> Iterator[EndpointConfig]:
        row = self._rows.endpoints[endpoint_id]
        if row.active is not None:
            yield self._rows.configs[endpoint_id, row.active]
        if row.pending is not None and row.bare.update is ConfigUpdate.IN_PROGRESS:
            yield self._rows.configs[endpoint_id, row.pending]

    def pools(self) -> Iterator[str]:
        """Names of pools that must run."""
        for id_, row in self._rows.endpoints.items():
            if row.bare.deleted:
                continue
            for config in self.configs(id_):
                # Until it is fetched and prepared, nobody can know what could serve it.
                yield from (each.name for each in config.entities if each.environment)
            for rollout in self._rows.rollouts.values():
                if rollout.endpoint_id == id_:
                    yield from self._pools_of(rollout)

    def _pools_of(self, rollout: StoredRollout) -> Iterator[str]:
        state = rollout.state
        if state.phase not in ENDED:
            yield state.stable
            target = self._rows.configs[rollout.endpoint_id, rollout.target_version]
            candidate = target.entity(state.candidate)
            if candidate is not None and candidate.environment is not None:
                yield state.candidate
        elif state.spec.self_test:
            return  # stable is what serves, and its copy is of no more use
        elif (state.exposed or state.activated) and state.ended_at is not None:
            warm = timedelta(seconds=state.spec.rollback.keep_warm_s)
            if self._world.at < state.ended_at + warm:
                yield state.stable if state.candidate_bp else state.candidate


def digest_of(served_name: str) -> str:
    """The model that a name stands for, by the world's own convention."""
    return "d" + served_name.split("-")[1]
