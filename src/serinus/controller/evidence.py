"""Keeps what gateways saw of each rollout and judges it. Decides nothing.

Flushes arrive on the gateways' own threads; judging happens in the loop. What was judged by is
kept in the store, so that a new controller goes on with it, and is journalled with each decision.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from serinus.controller.links import GatewayKey
from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.entities import WHOLE
from serinus.evidence import guardrails
from serinus.evidence.guardrails import Evidence
from serinus.evidence.summary import Flush, Ledger, StageSummary
from serinus.evidence.verdict import GuardrailVerdict as Judged
from serinus.evidence.verdict import judge
from serinus.evidence.windows import Timeline
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.moves import steps_of
from serinus.rollout.spec import Guardrail, GuardrailKind, RolloutSpec, StepKind
from serinus.rollout.state import Position, RolloutState
from serinus.store.repository import Store
from serinus.traffic import UnitKind

__all__ = ["Assessor", "Kept", "evidence_of", "judge_kept", "next_exposure"]

_log = structlog.get_logger("serinus.controller")
#: Evidence is stored at most this often, and with each decision.
_KEEP_EVERY = timedelta(seconds=2)


@dataclass(slots=True)
class Kept:
    """One rollout's evidence as it is stored, journalled and judged again."""

    ledger: Ledger = field(default_factory=Ledger)
    timeline: Timeline = field(default_factory=Timeline)


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


def next_exposure(state: RolloutState) -> int:
    """The weight, in basis points, that the next step would give the candidate."""
    if state.position in (Position.BAKE, Position.SETTLE):
        return WHOLE
    steps = steps_of(state)
    start = state.step + 1 if state.position is Position.STEPS else 0
    for step in steps[start:]:
        if step.kind is StepKind.SET_WEIGHT:
            return step.weight_bp
    return WHOLE


def judge_kept(
    kept: Kept, key: str, spec: RolloutSpec, next_bp: int
) -> tuple[GuardrailVerdict, ...]:
    """The verdicts that this evidence gives: the same whenever it is asked."""
    wanted = [_guardrail(each) for each in spec.guardrails]
    confidence = guardrails.Confidence(
        spec.confidence.false_rollback, spec.confidence.false_promote
    )
    return tuple(
        _said(each) for each in judge(evidence_of(kept, key, spec), wanted, confidence, next_bp)
    )


def evidence_of(kept: Kept, key: str, spec: RolloutSpec) -> Evidence:
    """The kept evidence as the judge reads it."""
    sticky = spec.unit.kind is not UnitKind.REQUEST
    return Evidence(
        kept.ledger.stages(key),
        kept.timeline,
        unit_copies=kept.ledger.incarnations(key) if sticky else None,
    )


def _guardrail(wanted: Guardrail) -> guardrails.Guardrail:
    match wanted.kind:
        case GuardrailKind.ERROR_RATE:
            return guardrails.ErrorRate(wanted.max_increase, wanted.floor, wanted.name)
        case GuardrailKind.LATENCY:
            limits = ((0.5, wanted.p50), (0.95, wanted.p95), (0.99, wanted.p99))
            asked = tuple((share, limit) for share, limit in limits if limit is not None)
            return guardrails.Latency(asked, name=wanted.name)
        case GuardrailKind.PREDICTIONS:
            return guardrails.Predictions(wanted.max_shift, wanted.name)
        case GuardrailKind.QUALITY:
            return guardrails.Quality(wanted.max_drop, wanted.name)


def _said(judged: Judged) -> GuardrailVerdict:
    return GuardrailVerdict(
        judged.name, Verdict(judged.verdict.value), judged.reason, judged.safe_for_bp
    )


def _shadow_requests(totals: list[StageSummary], stage: int) -> int:
    return sum(
        total.shadow.pairs + total.shadow.candidate_errors
        for total in totals
        if total.stage == stage
    )
