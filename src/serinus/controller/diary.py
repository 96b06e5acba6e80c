"""What the control loop saw last, how long its turns took, and so how the server is doing.

It only looks: the loop works the same without it, and asking it costs the store nothing.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from serinus.controller.counting import Counting
from serinus.controller.groups import Group, group_of, groups_of
from serinus.controller.rollouts import Judge, Judgement
from serinus.controller.snapshot import RolloutView, Snapshot
from serinus.controller.told import Told
from serinus.entities import ConfigUpdate, Endpoint, ServedEntity
from serinus.evidence.condition import Batched, Condition, RolloutCondition, ServedCondition
from serinus.evidence.meter import EDGES_S, Durations

__all__ = ["Diary"]


class Diary:
    """Written by the control loop's thread, read by any. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        counting: Counting,
        told: Told,
        generations: Callable[[], tuple[int, dict[str, int]]],
        *,
        clock: Callable[[], float],
    ) -> None:
        """``generations``: the newest, and the one that each connected gateway serves by."""
        self._counting = counting
        self._told = told
        self._generations = generations
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._turns = Durations()
        #: Group → replicas that ended by themselves.
        self._ended: dict[str, int] = {}
        #: Rollout → guardrail → verdict, as of its last look.
        self._verdicts: dict[str, Mapping[str, str]] = {}

    # The control loop

    def saw(self, snapshot: Snapshot) -> None:
        """This is how things are."""
        self._snapshot = snapshot
        under_way = {view.state.id for view in snapshot.rollouts}
        self._verdicts = {key: told for key, told in self._verdicts.items() if key in under_way}

    def replica_ended(self, group: str) -> None:
        """A replica of that group ended by itself."""
        self._ended[group] = self._ended.get(group, 0) + 1

    def timed(self, turn: Callable[[], bool]) -> Callable[[], bool]:
        """The same turn, and its time is kept."""

        def timed() -> bool:
            began = self._clock()
            try:
                return turn()
            finally:
                took = self._clock() - began
                buckets = list(self._turns.buckets)
                buckets[bisect_left(EDGES_S, took)] += 1
                self._turns = Durations(buckets, self._turns.seconds + took)

        return timed

    def judge(self, judge: Judge) -> Judge:
        """The same judge, and its verdicts are remembered."""

        def judged(view: RolloutView, at: datetime) -> Judgement:
            found = judge(view, at)
            self._verdicts[view.state.id] = {
                each.name: each.verdict.value for each in found.verdicts
            }
            return found

        return judged

    # Whoever asks

    def condition(self) -> Condition:
        """How everything is now."""
        newest, gateways = self._generations()
        snapshot = self._snapshot
        if snapshot is None:
            return Condition(self._counting.totals(), [], [], newest, gateways, self._turns)
        living = frozenset(each.id for each in snapshot.endpoints if not each.deleted)
        self._told.keep(living)
        return Condition(
            self._counting.totals(),
            list(self._served(snapshot)),
            list(self._rollouts(snapshot)),
            newest,
            gateways,
            self._turns,
        )

    def _served(self, snapshot: Snapshot) -> Iterator[ServedCondition]:
        groups = groups_of(snapshot)
        told = self._told.all()
        weights = {
            (each.name, one.name): one.weight_bp
            for each in snapshot.published.endpoints
            for one in each.served
        }
        for endpoint in snapshot.endpoints:
            if endpoint.deleted:
                continue
            for name, some in _groups(snapshot, endpoint, groups).items():
                yield ServedCondition(
                    endpoint.name,
                    name,
                    weights.get((endpoint.name, name), 0),
                    sum(group.wanted for group in some),
                    sum(len(group.ready) for group in some),
                    sum(self._ended.get(group.id, 0) for group in some),
                    told.get((endpoint.id, name), Batched()),
                )

    def _rollouts(self, snapshot: Snapshot) -> Iterator[RolloutCondition]:
        for endpoint in snapshot.endpoints:
            views = snapshot.rollouts_of(endpoint.id)
            if endpoint.deleted or not views:
                continue
            state = (snapshot.governing(endpoint.id) or views[-1]).state
            verdicts = {} if state.phase.terminal else self._verdicts.get(state.id, {})
            yield RolloutCondition(endpoint.name, state.phase.value, state.candidate_bp, verdicts)


def _groups(
    snapshot: Snapshot, endpoint: Endpoint, groups: Mapping[str, Group]
) -> dict[str, list[Group]]:
    """Served name → its groups: more than one while a version takes another's place."""
    found: dict[str, dict[str, Group]] = {}
    for entity in _entities(snapshot, endpoint):
        found.setdefault(entity.name, {})
        if entity.model is not None and entity.environment is not None:
            group = groups.get(group_of(endpoint.id, entity))
            if group is not None:
                found[entity.name][group.id] = group
    return {name: list(some.values()) for name, some in sorted(found.items())}


def _entities(snapshot: Snapshot, endpoint: Endpoint) -> Iterator[ServedEntity]:
    if endpoint.active is not None:
        yield from endpoint.active.entities
    if endpoint.pending is not None and endpoint.update is ConfigUpdate.IN_PROGRESS:
        yield from endpoint.pending.entities
    for view in snapshot.rollouts_of(endpoint.id):
        yield from view.pools(snapshot.at)
