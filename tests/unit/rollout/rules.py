"""What must hold at every step of every rollout, written from the rules in words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from serinus.entities import WHOLE
from serinus.errors import InvalidState
from serinus.rollout import machine
from serinus.rollout.events import (
    Abort,
    Activate,
    Approve,
    Diagnosed,
    DropUpdate,
    Effect,
    Event,
    Facts,
    FailUpdate,
    Fault,
    MoveAlias,
    Notify,
    Observed,
    Pause,
    PoolState,
    Promote,
    RememberRefused,
    Resume,
    Retry,
    Revert,
    Side,
    Superseded,
    Verdict,
    Verification,
)
from serinus.rollout.routing import Routing, pools, routing
from serinus.rollout.spec import (
    AdvanceRule,
    Moment,
    OnSilence,
    StepKind,
    Strategy,
    full_bp,
    program,
)
from serinus.rollout.state import Cause, Decision, Override, Phase, Position, RolloutState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEAST, PATIENCE = 30.0, 120.0
FAR = timedelta(days=400)


@dataclass(frozen=True)
class Rules:
    """The machine under test: the real one, or one with a bug planted in it."""

    decide: Callable[[RolloutState, Event], Decision] = machine.decide
    routing: Callable[[RolloutState], Routing] = routing
    pools: Callable[[RolloutState, datetime], frozenset[str]] = pools


#: The machine as it is.
REAL = Rules()


@dataclass(frozen=True)
class Ghost:
    """What the outside world was told so far, kept beside the state and not by it."""

    active: bool = False
    alias: bool = False
    ended: bool = False


def check_refusal(state: RolloutState, event: Event, refusal: InvalidState) -> None:
    over = state.phase.terminal
    assert refusal.message.endswith("."), refusal.message
    assert not isinstance(event, Observed), "a look is never refused"
    if isinstance(event, (Abort, Superseded, Fault)):
        assert over, "the way back was refused"
    if isinstance(event, Retry):
        assert state.phase is not Phase.ROLLED_BACK
    if isinstance(event, Pause):
        assert over or state.phase is Phase.ROLLING_BACK
    if isinstance(event, Approve) and event.waive:
        early = (Position.START, Position.VERIFY)
        assert state.position not in early, "a waiver was refused before any traffic"
    elif isinstance(event, Approve):
        assert state.cause is not Cause.APPROVAL, "approve was refused while it waits for it"
    if isinstance(event, Resume):
        assert not state.held, "resume was refused to whoever paused"
    if isinstance(event, Promote):
        early = (Position.START, Position.VERIFY)
        assert over or state.phase is Phase.ROLLING_BACK or state.position in early


def shares(state: RolloutState) -> tuple[int, int, int]:
    return state.candidate_bp, state.control_bp, state.shadow_bp


def check_routing(old: RolloutState, new: RolloutState, rules: Rules) -> None:
    routes = rules.routing(new)
    parts = (routes.candidate_bp, routes.control_bp, routes.stable_bp)
    assert sum(parts) == WHOLE, parts
    assert min(parts) >= 0, parts
    assert 0 <= routes.shadow_bp <= WHOLE
    assert (routes.candidate_bp, routes.control_bp, routes.shadow_bp) == shares(new)
    if shares(new) != shares(old):
        assert new.stage == old.stage + 1, "a change of routing is a new stage"
    assert old.stage <= new.stage <= old.stage + 1
    if new.stage != old.stage:
        assert new.stage_at is None, "a new stage cannot be acknowledged yet"


def check_pools(new: RolloutState, at: datetime, rules: Rules) -> None:
    live = not new.phase.terminal
    for moment in (at, at + FAR):
        running = rules.pools(new, moment)
        if live:
            assert {"stable", "candidate"} <= running, "a pool was given up on the way"
        if new.candidate_bp or new.shadow_bp:
            assert "candidate" in running
        if new.control_bp or (live and new.spec.control):
            assert "control" in running
        if new.candidate_bp + new.control_bp < WHOLE:
            assert "stable" in running
    if new.phase in (Phase.ROLLED_BACK, Phase.SUCCEEDED) and new.spec.self_test:
        assert "candidate" not in rules.pools(new, at), "a self-test keeps a second pool of stable"
    elif new.phase in (Phase.ROLLED_BACK, Phase.SUCCEEDED) and new.exposed:
        assert new.ended_at is not None
        assert {"stable", "candidate"} <= rules.pools(new, new.ended_at), "not kept warm"


def check_movement(old: RolloutState, new: RolloutState, event: Event) -> None:
    down = (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.FAILED)
    if new.phase in down:
        assert shares(new) == (0, 0, 0), "traffic is left on what is rolled back"
    if new.candidate_bp < old.candidate_bp:
        over = new.spec.self_test and new.position is Position.SETTLE
        assert over or new.phase in down, "a weight fell without a rollback"
    if old.phase.terminal and not isinstance(event, Retry):
        assert new is old, "a finished rollout moved"
    if old.phase is Phase.ROLLING_BACK:
        assert new.phase in down, "a rollback was turned round"
    if old.position is Position.STEPS and new.position is Position.STEPS:
        assert new.step >= old.step, "a step backwards"


def check_verb(old: RolloutState, new: RolloutState, event: Event) -> None:
    assert new.candidate_bp <= old.candidate_bp, "a verb raised a weight"
    assert new.shadow_bp <= old.shadow_bp
    if isinstance(event, (Abort, Superseded)):
        assert new.phase is Phase.ROLLING_BACK
        assert new.cause is not None
    if isinstance(event, Pause):
        assert new.phase is Phase.PAUSED
        assert new.held
    if isinstance(event, Approve) and event.waive:
        assert (new.position, new.step, new.phase) == (old.position, old.step, old.phase)
        assert new.waived == "mia: known"
    if isinstance(event, Diagnosed):
        assert replace(new, fault=old.fault, updated_at=old.updated_at) == old, "more than heard"
    if isinstance(event, Retry):
        assert new.phase is Phase.PENDING
        assert not new.fault, "a fault of an earlier attempt"
        assert not new.warned, "a warning of an earlier attempt"
        assert new.evidence_key == old.evidence_key, "a retry forgot its evidence"
        assert new.attempt == old.attempt + 1


def check_look(  # noqa: C901 - one list of rules
    old: RolloutState, new: RolloutState, event: Observed
) -> None:
    facts = event.facts
    live = not old.phase.terminal and old.phase is not Phase.ROLLING_BACK
    gone = new.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    acknowledged = facts.acknowledged_stage == old.stage
    if new.stage_at is not None and old.stage_at is None:
        assert acknowledged, "counted as acknowledged what is not"
    check_way_back(old, new, event)
    if gone or not live:
        return
    moved = (new.position, new.step) != (old.position, old.step)
    if old.held:
        assert not moved, "moved while a person held it"
        assert new.phase is Phase.PAUSED
    if moved:
        assert new.override is Override.NONE, "one override was used twice"
        check_fault(old)
    if new.position is Position.STEPS and old.position is not Position.STEPS:
        if old.position is Position.SETTLE:
            assert old.override is not Override.NONE
        else:
            let_by = (Verification.PASS, Verification.WAIVED, Verification.WARNED)
            assert facts.verification in let_by, "unverified"
            assert new.warned is (facts.verification is Verification.WARNED)
    if moved and old.position not in (Position.START, Position.VERIFY):
        assert acknowledged or old.stage_at, "went on before every gateway acknowledged"
        check_step_over(old, event)
    if new.candidate_bp > old.candidate_bp or new.shadow_bp > old.shadow_bp:
        assert facts.candidate is PoolState.READY, "traffic to a candidate that is not ready"
        assert facts.stable_ready, "raised while stable is not ready"
    if new.control_bp > old.control_bp:
        assert facts.control is PoolState.READY, "traffic to a control pool that is not ready"
    passed = new.spec.self_test and new.position is Position.SETTLE is not old.position
    if new.candidate_bp > old.candidate_bp or new.phase is Phase.SUCCEEDED or passed:
        check_rise(old, new, facts, event.at)


def check_way_back(old: RolloutState, new: RolloutState, event: Observed) -> None:
    """It goes back when it must and only then, and is over when that is acknowledged."""
    facts = event.facts
    if old.phase is Phase.ROLLING_BACK:
        done = new.phase is Phase.ROLLED_BACK
        acknowledged = facts.acknowledged_stage == old.stage
        assert done == acknowledged, "a rollback ends when it is acknowledged, and only then"
        return
    if old.phase.terminal:
        return
    gone = new.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    must = must_go_back(old, facts)
    if must:
        assert gone, "did not go back"
    if gone and not must:
        assert timed_out_back(old, facts, event.at), "went back for nothing"
    if new.phase is Phase.ROLLED_BACK:
        assert not old.exposed, "given up before the routing without it was acknowledged"


def check_fault(old: RolloutState) -> None:
    """A proved fault lets nothing go on from a step that judges, but by a person's word."""
    ignored = old.spec.on.diagnosis is OnSilence.ADVANCE or old.override is not Override.NONE
    if not old.fault or ignored:
        return
    full = old.position is Position.STEPS and old.candidate_bp == full_bp(old.spec)
    judges = old.position is Position.BAKE or (old.position is Position.STEPS and not full)
    assert not judges, "went on with a fault that was proved"


def must_go_back(old: RolloutState, facts: Facts) -> bool:
    early = old.position in (Position.START, Position.VERIFY)
    regressed = any(
        v.verdict is Verdict.REGRESSED and v.name == "error_rate" for v in facts.verdicts
    )
    torn = any(v.verdict is Verdict.INVALID for v in facts.verdicts)
    judged = bool(old.spec.guardrails)
    return (
        facts.candidate is PoolState.FAILED
        or (judged and regressed)
        or (judged and torn and old.spec.on.invalid is OnSilence.ROLLBACK)
        or (early and facts.verification is Verification.FAIL)
    )


def timed_out_back(old: RolloutState, facts: Facts, at: datetime) -> bool:
    asked = OnSilence.ROLLBACK in (old.spec.on.undecided, old.spec.on.no_data)
    long = (at - old.waiting_since).total_seconds() >= PATIENCE
    return asked and long and not all_safe(facts, WHOLE)


def check_step_over(old: RolloutState, event: Observed) -> None:
    """What a step asks for besides evidence: its time, a person, its shadowed requests."""
    if old.override is not Override.NONE or old.position is not Position.STEPS:
        return
    steps = program(old.spec)
    if old.step == len(steps):
        return
    last = old.step == len(steps) - 1 and not old.spec.self_test
    current = steps[old.step]
    since = (event.at - (old.stage_at or event.facts.acknowledged_at or event.at)).total_seconds()
    if current.kind is StepKind.SET_WEIGHT and not last:
        assert since >= LEAST, "a step ended before its least duration since acknowledgement"
    if current.kind is StepKind.SHADOW:
        assert event.facts.shadow_requests > 0, "a shadow ended without a request"
    if current.kind is StepKind.PAUSE and not old.approved:
        assert current.for_s is not None, "went past a pause that nobody approved"
        waited = (event.at - old.waiting_since).total_seconds()
        assert waited >= current.for_s, "a timed pause ended early"


def all_safe(facts: Facts, exposure: int) -> bool:
    good = {
        v.name for v in facts.verdicts if v.verdict is Verdict.SAFE and v.safe_for_bp >= exposure
    }
    return good == {"error_rate", "predictions"}


def check_rise(old: RolloutState, new: RolloutState, facts: Facts, at: datetime) -> None:
    """More exposure, or success: only by proof, by a person's word, or by a spec that says so."""
    spec = old.spec
    if not spec.guardrails or old.override is not Override.NONE:
        return
    said = {v.verdict for v in facts.verdicts}
    bad = bool(said & {Verdict.REGRESSED, Verdict.INVALID})
    if old.position is Position.SETTLE or (
        old.position is Position.STEPS and old.candidate_bp == full_bp(spec)
    ):
        return  # it was let to this weight before; only the acknowledgement was awaited
    assert not bad, "rose against a verdict"
    if old.candidate_bp == 0 or (spec.bake and not spec.bake.holdback_bp and old.activated):
        return  # nothing to compare with yet, or any more
    last = new.candidate_bp >= full_bp(spec) or new.position is Position.SETTLE
    exposure = WHOLE if last else new.candidate_bp
    if spec.advance.rule is AdvanceRule.WHEN_SAFE:
        proved = all_safe(facts, exposure)
    else:
        proved = len(facts.verdicts) == 2 and Verdict.NO_DATA not in said
    if not proved and spec.on.no_data is OnSilence.ADVANCE:
        proved = Verdict.UNDECIDED not in said
        proved &= (at - old.waiting_since).total_seconds() >= PATIENCE
    assert proved, "rose without proof"


def check_effects(  # noqa: C901 - one arm an effect
    old: RolloutState, new: RolloutState, ghost: Ghost, effects: tuple[Effect, ...]
) -> Ghost:
    assert [each.id for each in effects] == [
        f"r/{old.effects + n + 1}" for n in range(len(effects))
    ]
    assert new.effects == old.effects + len(effects)
    active, alias, ended = ghost.active, ghost.alias, ghost.ended and new.phase is not Phase.PENDING
    for each in effects:
        match each:
            case Activate():
                assert not active, "activated twice"
                assert old.stage_at or new.stage_at, "activated before it was acknowledged"
                assert new.candidate_bp >= full_bp(new.spec)
                active = True
            case Revert():
                assert active, "reverted what was never active"
                active = False
            case DropUpdate():
                assert new.spec.self_test
                assert new.phase.terminal
                assert not active
            case FailUpdate():
                assert not new.spec.self_test, "a self-test is no update that could fail"
                assert not active, "failed the update of an active config"
                assert new.phase.terminal
            case MoveAlias():
                assert alias is (each.to is Side.STABLE)
                alias = each.to is Side.CANDIDATE
            case Notify():
                if each.moment is Moment.WARNED:
                    assert new.warned
                    assert not old.warned, "warned twice"
                elif each.moment is not Moment.PAUSED:
                    assert not ended, "told twice that it is over"
                    assert new.phase.value.lower() == each.moment.value
                    ended = True
            case RememberRefused():
                assert not new.spec.self_test, "a self-test spoke against the model that serves"
                assert each.digest == "d2"
                assert new.cause not in (Cause.SUPERSEDED, Cause.CANDIDATE_FAILED, Cause.FAULT)
    if new.warned and not old.warned:
        assert any(isinstance(each, Notify) and each.moment is Moment.WARNED for each in effects), (
            "nobody was told that the verification failed"
        )
    after = Ghost(active, alias, ended)
    if new.phase is not old.phase and new.phase.terminal:
        check_ended(new, after, {type(each) for each in effects})
    return after


def check_ended(new: RolloutState, ghost: Ghost, kinds: set[type[Effect]]) -> None:
    """What must have been done by the time that it is over."""
    assert ghost.ended, "nobody was told that it is over"
    assert ghost.alias == (ghost.active and bool(new.spec.registry_alias))
    blamed = new.cause in (Cause.REGRESSED, Cause.ABORTED, Cause.VERIFICATION_FAILED)
    blamed = blamed and not new.spec.self_test
    assert not blamed or RememberRefused in kinds, "a refused model was forgotten"
    if new.phase is Phase.SUCCEEDED:
        shadow = new.spec.strategy is Strategy.SHADOW and not new.promoted
        unmoved = shadow or new.spec.self_test
        assert ghost.active is not unmoved, "success without the config being active"
    else:
        assert not ghost.active, "rolled back, yet the config is still active"
        assert kinds & {Revert, FailUpdate, DropUpdate}
