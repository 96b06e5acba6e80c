"""Keeps what gateways saw of each rollout, and judges it. Decides nothing.

Flushes arrive on the gateways' own threads; judging happens in the loop. What was judged by is
kept in the store, so that a new controller goes on with it, and is journalled with each decision.
"""

import threading
from datetime import datetime, timedelta
from typing import Any

import msgspec

from serinus.controller.links import GatewayKey
from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.evidence.outcomes import OutcomeLine
from serinus.evidence.summary import Flush, StageSummary, stage_key
from serinus.rollout.judging import Kept, judge_kept, look_at
from serinus.rollout.moves import next_exposure
from serinus.rollout.spec import Guardrail, GuardrailKind
from serinus.store.repository import Store

__all__ = ["Assessor"]

#: Evidence is stored at most this often, and with each decision.
_KEEP_EVERY = timedelta(seconds=2)
#: Requests this much older than their label window have been flushed, also the slow ones.
_STRAGGLERS = timedelta(seconds=5)
_PURGE_EVERY = timedelta(minutes=1)
#: Rollouts whose evidence is at hand; what is not is read from the store again.
_MOST_KEPT = 1000
#: Pages of outcomes counted in one turn, which must not be held up by them.
_MOST_PAGES = 4


class Assessor:
    """The judge of all rollouts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        #: Evidence key → (stage, incarnation) → what it flushed last.
        self._arrived: dict[str, dict[tuple[str, str], tuple[Flush, StageSummary]]] = {}
        self._kept: dict[str, Kept] = {}
        self._judged: dict[str, tuple[int, Judgement]] = {}
        self._stored_at: dict[str, datetime] = {}
        self._purged_at: dict[str, datetime] = {}
        #: Evidence key → exposures that found no room, and were not told yet.
        self._dropped: dict[str, int] = {}

    def on_summary(self, _: GatewayKey, flush: Flush) -> None:
        """Take a flush; any thread. It is cumulative, so only the newest of each stage matters."""
        if flush.exposures:
            dropped = self._store.outcomes.keep(flush.exposures)
            with self._lock:
                key = flush.exposures[-1].rollout_id
                self._dropped[key] = self._dropped.get(key, 0) + dropped
        with self._lock:
            for summary in flush.stages:
                arrived = self._arrived.setdefault(summary.rollout_id, {})
                place = stage_key(summary), flush.incarnation
                known = arrived.get(place)
                if known is None or known[0].sequence <= flush.sequence:
                    arrived[place] = flush, summary
            while len(self._arrived) > _MOST_KEPT:
                del self._arrived[next(iter(self._arrived))]

    def judge(self, view: RolloutView, at: datetime) -> Judgement:
        """What the evidence says of this rollout now."""
        state = view.state
        key = state.evidence_key
        kept = self._load(key)
        fresh = self._take(key, kept)
        for guardrail in state.spec.guardrails:
            if guardrail.kind is GuardrailKind.QUALITY:
                fresh = self._settle(key, kept, guardrail, at) or fresh
        next_bp = next_exposure(state)
        judged = self._judged.get(key)
        if judged is not None and not fresh and judged[0] == next_bp:
            return judged[1]
        totals = kept.ledger.stages(key)
        kept.timeline.observe(totals)
        # Asked again of the same evidence, it is no further look.
        judge = look_at if fresh else judge_kept
        judgement = Judgement(
            judge(kept, key, state.spec, next_bp),
            _shadow_requests(totals, state.stage),
            _json(kept),
            next_bp,
        )
        self._judged[key] = (next_bp, judgement)
        if fresh and at - self._stored_at.get(key, at - _KEEP_EVERY) >= _KEEP_EVERY:
            self._store.rollouts.keep_evidence(state.id, key, judgement.evidence, at)
            self._stored_at[key] = at
        return judgement

    def _load(self, key: str) -> Kept:
        kept = self._kept.pop(key, None)
        if kept is None:
            stored = self._store.rollouts.evidence(key)
            kept = Kept() if stored is None else msgspec.convert(stored, Kept, str_keys=True)
        self._kept[key] = kept  # at the end: whoever is judged no more comes to the front
        if len(self._kept) > _MOST_KEPT:
            self._forget(next(iter(self._kept)))
        return kept

    def _forget(self, key: str) -> None:
        """Make room; gateways flush the whole of a stage, so what they lack comes again."""
        del self._kept[key]
        for each in (self._judged, self._stored_at, self._purged_at):
            each.pop(key, None)

    def _settle(self, key: str, kept: Kept, guardrail: Guardrail, at: datetime) -> bool:
        """Count the outcomes whose label window is over; True when there were some."""
        line = kept.outcomes.setdefault(guardrail.name, OutcomeLine())
        window = timedelta(seconds=guardrail.label_window_s)
        until_us = _micros(at - window - _STRAGGLERS)
        found = False
        for _ in range(_MOST_PAGES):
            page = self._store.outcomes.settled(key, guardrail.metric, line.through, until_us)
            line.take(page, absent_is_zero=guardrail.absent_is_zero)
            found = found or bool(page)
            if not page:
                break
        if at - self._purged_at.get(key, at - _PURGE_EVERY) >= _PURGE_EVERY:
            # Once more the window, so that what comes too late is told so.
            self._store.outcomes.purge(key, _micros(at - 2 * window - _PURGE_EVERY))
            self._purged_at[key] = at
        return found

    def _take(self, key: str, kept: Kept) -> bool:
        with self._lock:
            arrived = self._arrived.pop(key, {})
            kept.exposures_dropped += self._dropped.pop(key, 0)
        fresh = False
        for flush, summary in arrived.values():
            known = kept.ledger.entries.get(stage_key(summary), {}).get(flush.incarnation)
            fresh = fresh or known is None or known[0] < flush.sequence
            kept.ledger.replace(
                Flush(flush.gateway_id, flush.incarnation, flush.sequence, [summary])
            )
        return fresh


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1e6)


def _json(kept: Kept) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(kept, str_keys=True)
    return values


def _shadow_requests(totals: list[StageSummary], stage: int) -> int:
    return sum(
        total.shadow.pairs + total.shadow.candidate_errors
        for total in totals
        if total.stage == stage
    )
