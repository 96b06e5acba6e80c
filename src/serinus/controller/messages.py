"""Delivers what a rollout does outside the store: webhooks and registry aliases. At least once.

A message stays in the store until it was delivered; each carries an id by which its receiver can
tell a repetition. Delivery never holds up the loop.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from serinus.errors import SerinusError
from serinus.rollout.state import RolloutState
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import Message, StoredRollout

__all__ = ["Messenger", "Outside", "UndeliveredError"]

_log = structlog.get_logger("serinus.controller")
_TRIES = 10


class UndeliveredError(Exception):
    """The other side did not take it; it may the next time."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The hands that reach out of the store. Both raise UndeliveredError.

    ``post(url, body)`` sends JSON; ``move_alias(model_uri, alias)`` points a registered model's
    alias at the version that ``model_uri`` (``models:/name/version``) names.
    """

    post: Callable[[str, dict[str, Any]], None]
    move_alias: Callable[[str, str], None]


class Messenger:
    """Sends every due message on ``threads`` (its own when None), each one at a time."""

    def __init__(
        self,
        store: Store,
        outside: Outside,
        *,
        clock: Callable[[], datetime],
        threads: ThreadPoolExecutor | None = None,
    ) -> None:
        self._store = store
        self._outside = outside
        self._clock = clock
        self._lock = threading.Lock()
        self._sending: set[str] = set()
        self._futures: list[Future[None]] = []
        self._threads = threads or ThreadPoolExecutor(2, thread_name_prefix="messenger")

    def turn(self) -> None:
        """Begin to send what is due."""
        self._futures = [future for future in self._futures if not future.done()]
        for message in self._store.rollouts.messages(self._clock()):
            with self._lock:
                if message.id in self._sending:
                    continue
                self._sending.add(message.id)
            self._futures.append(self._threads.submit(self._send, message))

    def settle(self) -> None:
        """Wait until nothing is under way; for tests and simulations."""
        for future in list(self._futures):
            future.result()

    def close(self) -> None:
        """Send nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, message: Message) -> None:
        try:
            rollout = self._store.rollouts.get(message.rollout_id)
            self._deliver(rollout, message)
        except UndeliveredError as error:
            self._again(message, str(error))
        except SerinusError as error:
            _log.warning("message_kept", message=message.id, why=error.message)
        else:
            self._done(rollout, message, "message_delivered", {})
        finally:
            with self._lock:
                self._sending.discard(message.id)

    def _deliver(self, rollout: StoredRollout, message: Message) -> None:
        state = rollout.state
        if message.kind == "alias":
            self._move_alias(rollout, message.data["to"])
            return
        for webhook in state.spec.notify:
            if message.data["moment"] in {moment.value for moment in webhook.on}:
                self._outside.post(webhook.url, _body(state, message))

    def _move_alias(self, rollout: StoredRollout, to: str) -> None:
        state = rollout.state
        version = rollout.target_version if to == "candidate" else rollout.stable_version
        name = state.candidate if to == "candidate" else state.stable
        config = self._store.config(rollout.endpoint_id, version)
        entity = config.entity(name) if config is not None else None
        if entity is not None and entity.model is not None:
            self._outside.move_alias(entity.model.resolved, state.spec.registry_alias)

    def _again(self, message: Message, why: str) -> None:
        _log.warning("message_undelivered", message=message.id, tries=message.tries + 1, why=why)
        if message.tries + 1 < _TRIES:
            pause = timedelta(seconds=min(2.0**message.tries, 300.0))
            self._store.rollouts.postpone(message.id, self._clock() + pause)
            return
        rollout = self._store.rollouts.get(message.rollout_id)
        self._done(rollout, message, "message_given_up", {"why": why})

    def _done(
        self, rollout: StoredRollout, message: Message, kind: str, data: dict[str, Any]
    ) -> None:
        entry = JournalEntry(
            "controller",
            kind,
            self._clock(),
            rollout.endpoint_id,
            {"message": message.id, "kind": message.kind, **data},
            rollout_id=message.rollout_id,
        )
        self._store.rollouts.done(message.id, entries=[entry])


def _body(state: RolloutState, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "moment": message.data["moment"],
        "text": message.data["text"],
        "rollout": state.id,
        "endpoint": state.endpoint,
        "phase": state.phase.value,
        "reason": state.reason,
        "stable": state.stable,
        "candidate": state.candidate,
    }
