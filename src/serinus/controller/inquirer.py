"""Asks running replicas who they are, and recorded requests once more; only when a person asks.

It waits for them, so the control loop must never call it. It judges nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import structlog

from serinus.controller.collector import Watched
from serinus.engine.wire import SocketWire, connect
from serinus.parity.wire import Answer, Inspection, Request, Running, WireLost
from serinus.replica.protocol import FrameError

__all__ = ["Inquirer"]

_log = structlog.get_logger("serinus.controller")
#: Replicas of one served entity that are asked: all that one may have.
_MOST = 64
_T = TypeVar("_T")


class Inquirer:
    """``watched`` gives the ready replicas by id; ``clock`` is monotonic seconds.

    ``identify_s`` is how long one replica may take to say who it is (it hashes its files);
    ``answer_s`` how long all answers to recorded requests may take.
    """

    def __init__(
        self,
        watched: Callable[[], Mapping[str, Watched]],
        *,
        clock: Callable[[], float],
        identify_s: float = 10.0,
        answer_s: float = 3.0,
    ) -> None:
        self._watched = watched
        self._clock = clock
        self._identify_s = identify_s
        self._answer_s = answer_s

    def identities(self, endpoint_id: str, served_name: str) -> dict[str, Running | None]:
        """Replica → what it says of itself; None for one that gave no answer."""
        found: dict[str, Running | None] = {}
        for replica_id, replica in self._of(endpoint_id, served_name):
            try:
                with self._line(replica, self._identify_s) as wire:
                    found[replica_id] = wire.running()
            except (WireLost, FrameError) as error:
                _log.info("replica_not_identified", replica=replica_id, why=str(error))
                found[replica_id] = None
        return found

    def again(
        self, endpoint_id: str, served_name: str, requests: Sequence[Request]
    ) -> list[Answer]:
        """Answers of one replica to the first of these requests, each asked alone.

        As many as there is time for.
        """
        return self._each(endpoint_id, served_name, requests, SocketWire.ask)

    def apart(
        self, endpoint_id: str, served_name: str, requests: Sequence[Request]
    ) -> list[Inspection]:
        """What one replica makes of the first of these requests by stages, of each alone."""
        return self._each(
            endpoint_id, served_name, requests, lambda wire, request: wire.inspect([request])
        )

    def _each(
        self,
        endpoint_id: str,
        served_name: str,
        requests: Sequence[Request],
        ask: Callable[[SocketWire, Request], _T],
    ) -> list[_T]:
        found: list[_T] = []
        until = self._clock() + self._answer_s
        for _, replica in self._of(endpoint_id, served_name) if requests else ():
            try:
                with self._line(replica, self._answer_s) as wire:
                    for request in requests[len(found) :]:
                        if self._clock() >= until:
                            return found
                        found.append(ask(wire, request))
            except (WireLost, FrameError) as error:
                _log.info("recorded_rows_not_asked", why=str(error))
            else:
                return found
        return found

    def _of(self, endpoint_id: str, served_name: str) -> Iterator[tuple[str, Watched]]:
        some = [
            (replica_id, each)
            for replica_id, each in sorted(self._watched().items())
            if (each.endpoint_id, each.served_name) == (endpoint_id, served_name)
        ]
        yield from some[:_MOST]

    @staticmethod
    def _line(replica: Watched, timeout_s: float) -> SocketWire:
        return connect(replica.address, replica.model_digest, timeout_s=timeout_s)
