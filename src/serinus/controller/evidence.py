"""Keeps what gateways saw of each rollout and judges it. Decides nothing.

Flushes arrive on the gateways' own threads; judging happens in the loop. What was judged by is
kept in the store, so that a new controller goes on with it, and is journalled with each decision.
"""

import threading
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from serinus.controller.links import GatewayKey
from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.evidence.summary import Flush, StageSummary
from serinus.rollout.judging import Kept, judge_kept, next_exposure
from serinus.store.repository import Store

__all__ = ["Assessor"]

_log = structlog.get_logger("serinus.controller")
#: Evidence is stored at most this often, and with each decision.
_KEEP_EVERY = timedelta(seconds=2)


class Assessor:
    """The judge of all rollouts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._arrived: dict[str, list[tuple[Flush, StageSummary]]] = {}
        self._kept: dict[str, Kept] = {}
        self._judged: dict[str, tuple[int, Judgement]] = {}
        self._stored_at: dict[str, datetime] = {}

    def on_summary(self, _: GatewayKey, flush: Flush) -> None:
        """Take a flush; any thread. It is cumulative, so only the newest of each stage matters."""
        with self._lock:
            for summary in flush.stages:
                self._arrived.setdefault(summary.rollout_id, []).append((flush, summary))

    def judge(self, view: RolloutView, at: datetime) -> Judgement:
        """What the evidence says of this rollout now."""
        state = view.state
        key = state.evidence_key
        kept = self._load(key)
        fresh = self._take(key, kept)
        next_bp = next_exposure(state)
        judged = self._judged.get(key)
        if judged is not None and not fresh and judged[0] == next_bp:
            return judged[1]
        totals = kept.ledger.stages(key)
        kept.timeline.observe(totals)
        judgement = Judgement(
            judge_kept(kept, key, state.spec, next_bp),
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
        kept = self._kept.get(key)
        if kept is None:
            stored = self._store.rollouts.evidence(key)
            kept = Kept() if stored is None else msgspec.convert(stored, Kept, str_keys=True)
            self._kept[key] = kept
        return kept

    def _take(self, key: str, kept: Kept) -> bool:
        with self._lock:
            arrived = self._arrived.pop(key, [])
        for flush, summary in arrived:
            kept.ledger.replace(
                Flush(flush.gateway_id, flush.incarnation, flush.sequence, [summary])
            )
        return bool(arrived)


def _json(kept: Kept) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(kept, str_keys=True)
    return values


def _shadow_requests(totals: list[StageSummary], stage: int) -> int:
    return sum(
        total.shadow.pairs + total.shadow.candidate_errors
        for total in totals
        if total.stage == stage
    )
