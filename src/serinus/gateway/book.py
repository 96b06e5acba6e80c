"""The recorders of all stages that this gateway has served, and what of them the controller lacks.

Summaries are cumulative: sending one twice is harmless, losing the controller loses nothing.
"""

from collections import OrderedDict
from collections.abc import Callable

import structlog

from serinus.evidence.exposure import Exposure
from serinus.evidence.summary import StageSummary
from serinus.gateway.exposures import Exposures
from serinus.gateway.recorder import Recorder
from serinus.traffic import StageRoute

__all__ = ["Book"]

_log = structlog.get_logger("serinus.gateway")
#: Stages that are over and wait for the controller; the oldest goes first.
_MOST_ENDED = 32

_Key = tuple[str, int]


class Book:
    """Recorders by (rollout, stage). ``clock`` is monotonic, ``wall`` seconds since the epoch."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._live: dict[_Key, Recorder] = {}
        self._ended: OrderedDict[_Key, Recorder] = OrderedDict()
        #: Recorder → the version of it that the controller keeps.
        self._kept: dict[Recorder, int] = {}
        self._sent: OrderedDict[int, tuple[dict[Recorder, int], int]] = OrderedDict()
        self._exposures = Exposures()
        self._sequence = 0

    def recorder(self, route: StageRoute) -> Recorder:
        """The recorder of that stage: the one that there is, or a new one as of now."""
        key = (route.rollout_id, route.stage)
        recorder = self._live.get(key) or self._ended.pop(key, None)
        if recorder is None:
            recorder = Recorder(route, self._clock(), self._wall, self._exposures)
        elif not recorder.is_of(route):
            # The evidence is exact for one propensity only; none is better than a wrong one.
            _log.error("stage_changed_weights", rollout=route.rollout_id, stage=route.stage)
            self._live[key] = recorder
            return Recorder(route, self._clock(), self._wall)
        self._live[key] = recorder
        return recorder

    def end_all_but(self, routes: list[StageRoute]) -> None:
        """Close the other stages; requests in flight under them still count."""
        staying = {(route.rollout_id, route.stage) for route in routes}
        for key in self._live.keys() - staying:
            self._ended[key] = self._live.pop(key)
        self._tidy()

    def flush(self) -> tuple[int, list[StageSummary], list[Exposure]] | None:
        """A sequence number, and what the controller lacks; None if it has all."""
        changed: dict[Recorder, int] = {}
        for recorder in (*self._live.values(), *self._ended.values()):
            recorder.fold()
            if self._kept.get(recorder) != recorder.version:
                changed[recorder] = recorder.version
        exposures, upto = self._exposures.next()
        if not changed and not exposures:
            return None
        self._sequence += 1
        self._sent[self._sequence] = changed, upto
        while len(self._sent) > _MOST_ENDED:
            self._sent.popitem(last=False)
        return self._sequence, [recorder.summary for recorder in changed], exposures

    def acknowledged(self, sequence: int) -> None:
        """The controller keeps what was in that flush."""
        versions, upto = self._sent.pop(sequence, ({}, 0))
        self._exposures.kept(upto)
        for recorder, version in versions.items():
            self._kept[recorder] = max(version, self._kept.get(recorder, -1))
        self._tidy()

    def forget_acknowledgements(self) -> None:
        """Another controller, which may lack everything."""
        self._kept.clear()
        self._sent.clear()

    def _tidy(self) -> None:
        for key, recorder in list(self._ended.items()):
            idle = not recorder.in_flight and self._kept.get(recorder) == recorder.version
            if idle or len(self._ended) > _MOST_ENDED:
                del self._ended[key]
                if not idle:
                    _log.warning("summary_dropped", rollout=key[0], stage=key[1])
        known = {*self._live.values(), *self._ended.values()}
        for recorder in self._kept.keys() - known:
            del self._kept[recorder]
