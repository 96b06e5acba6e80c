"""Rollouts from beginning to end, as a person would tell them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus.errors import InvalidState
from serinus.rollout.events import (
    Abort,
    Activate,
    Approve,
    Effect,
    Facts,
    FailUpdate,
    GuardrailVerdict,
    MoveAlias,
    Notify,
    Observed,
    Pause,
    PoolState,
    Promote,
    RememberRefused,
    Retry,
    Revert,
    Superseded,
    Verdict,
    Verification,
)
from serinus.rollout.machine import decide, mermaid, why
from serinus.rollout.parse import parse_spec
from serinus.rollout.routing import pools, routing
from serinus.rollout.state import Cause, Phase, RolloutState
from tests.unit.rollout.plans import PLANS
from tests.unit.rollout.rules import FAR, NOW, Ghost, Rules
from tests.unit.rollout.test_spec import written
from tests.unit.rollout.walk import (
    ALL_SAFE,
    OPEN,
    REGRESSED,
    looks,
    start,
    step,
    verbs,
)

DOCS = Path(__file__).parents[3] / "docs"


class Told:
    """One rollout, told what happens."""

    def __init__(self, spec) -> None:
        self.state: RolloutState = start(spec)
        self.at = NOW
        self.effects: list[Effect] = []

    def see(self, seconds: float = 0.0, **facts: object) -> RolloutState:
        """Look ``seconds`` later at a healthy world with these changes."""
        self.at += timedelta(seconds=seconds)
        world = Facts(
            PoolState.READY,
            acknowledged_stage=self.state.stage,
            acknowledged_at=self.at,
            verification=Verification.PASS,
            shadow_requests=10,
            verdicts=ALL_SAFE,
        )
        return self.tell(Observed(self.at, replace(world, **facts)))  # type: ignore[arg-type]

    def tell(self, event) -> RolloutState:
        decision = decide(self.state, event)
        self.state = decision.state
        self.effects += decision.effects
        return self.state

    def kinds(self) -> list[type]:
        return [type(each) for each in self.effects]

    def until(self, phase: Phase) -> RolloutState:
        for _ in range(20):
            if self.state.phase is phase:
                return self.state
            self.see(40)
        raise AssertionError(why(self.state))


def test_a_canary_earns_its_traffic():
    told = Told(PLANS["canary"])
    assert told.see().phase is Phase.VERIFYING
    assert told.see().candidate_bp == 500
    assert (
        told.see(5, acknowledged_stage=0).waiting_for == "every gateway to serve by the new routing"
    )
    told.see(100)  # acknowledged only now
    assert told.see(29).waiting_for == "30s at 5%"
    assert told.see(1, verdicts=OPEN).waiting_for == "predictions to be proved safe for 50%"
    assert told.see().cause is Cause.APPROVAL
    told.tell(Approve(told.at, "mia"))
    assert told.see().candidate_bp == 5_000
    told.see()
    assert told.see(30).candidate_bp == 10_000
    assert told.state.phase is Phase.PROGRESSING
    assert told.see().phase is Phase.SUCCEEDED
    assert told.kinds() == [Notify, Activate, MoveAlias, Notify]
    assert [each.id for each in told.effects] == ["r/1", "r/2", "r/3", "r/4"]
    assert pools(told.state, told.at) == {"stable", "candidate"}
    assert pools(told.state, told.at + FAR) == {"candidate"}


def test_a_regression_takes_the_traffic_away_before_anything_else():
    told = Told(PLANS["canary"])
    told.see(), told.see(), told.see()
    back = told.see(1, verdicts=REGRESSED)
    assert (back.phase, back.cause) == (Phase.ROLLING_BACK, Cause.REGRESSED)
    assert back.reason == "error_rate regressed: measured."
    assert routing(back).stable_bp == 10_000
    assert told.effects == []
    assert told.see(1, acknowledged_stage=1).phase is Phase.ROLLING_BACK
    assert "candidate" in pools(told.state, told.at + FAR)
    assert told.see(1).phase is Phase.ROLLED_BACK
    assert told.kinds() == [FailUpdate, RememberRefused, Notify]
    assert pools(told.state, told.at + FAR) == {"stable"}


def test_out_of_the_bake_the_old_config_comes_back():
    told = Told(PLANS["canary-bake"])
    told.see(), told.see(), told.see()
    told.tell(Promote(told.at, "mia", full=True))
    assert told.see().candidate_bp == 9_500
    assert told.see().phase is Phase.BAKING
    told.tell(Abort(told.at, "mia", "the phone rings"))
    assert told.state.reason == "mia aborted it: the phone rings."
    told.see()
    assert told.kinds()[-4:] == [Revert, MoveAlias, RememberRefused, Notify]


def test_blue_green_moves_everybody_in_one_change():
    told = Told(PLANS["blue-green-approve"])
    told.see(), told.see()
    assert (told.state.cause, told.state.candidate_bp) == (Cause.STEP, 0)
    told.see()
    assert told.see(30).cause is Cause.APPROVAL
    stage = told.state.stage
    told.tell(Approve(told.at, "mia"))
    assert told.see().candidate_bp == 10_000
    assert told.state.stage == stage + 1
    assert told.see().phase is Phase.BAKING


def test_a_shadow_serves_nobody_unless_a_person_promotes_it():
    told = Told(PLANS["shadow"])
    told.see(), told.see()
    assert routing(told.state).shadow_bp == 5_000
    told.until(Phase.SUCCEEDED)
    assert told.state.reason == "The shadow is over; verdicts: error_rate SAFE, predictions SAFE."
    assert told.kinds() == [FailUpdate, Notify]
    promoted = Told(PLANS["shadow"])
    promoted.see(), promoted.see(), promoted.see(shadow_requests=0)
    promoted.tell(Promote(promoted.at, "mia"))
    assert promoted.until(Phase.SUCCEEDED).candidate_bp == 10_000
    assert Activate in promoted.kinds()


def test_a_candidate_that_does_not_start_never_gets_traffic():
    told = Told(PLANS["canary"])
    told.see(candidate=PoolState.FAILED, candidate_reason="no module named lightgbm")
    assert (told.state.phase, told.state.cause) == (Phase.ROLLED_BACK, Cause.CANDIDATE_FAILED)
    assert told.state.reason == "The candidate failed: no module named lightgbm."
    assert RememberRefused not in told.kinds()


def test_a_candidate_that_recovers_is_waited_for():
    told = Told(PLANS["canary"])
    told.see(), told.see(), told.see()
    assert told.see(60, candidate=PoolState.STARTING).waiting_for == "the candidate to recover"
    assert told.state.candidate_bp == 500


def test_a_newer_candidate_sends_this_one_back_without_blame():
    told = Told(PLANS["canary"])
    told.see(), told.see()
    told.tell(Superseded(told.at, "models:/m/3"))
    assert told.see().cause is Cause.SUPERSEDED
    assert told.kinds() == [FailUpdate, Notify]


def test_a_timed_out_step_says_what_is_missing():
    told = Told(PLANS["canary"])
    told.see(), told.see(), told.see()
    paused = told.see(500, verdicts=())
    assert (paused.phase, paused.cause) == (Phase.PAUSED, Cause.NO_DATA)
    assert paused.reason == "No verdict within 2m; silence is not success."
    assert paused.waiting_for == "data for error_rate and predictions"
    assert told.see(1).step == 1  # and goes on by itself when the evidence is there


def test_retry_keeps_the_evidence_unless_asked_otherwise():
    told = Told(PLANS["canary"])
    told.see(), told.tell(Abort(told.at, "mia")), told.see()
    assert decide(told.state, Retry(told.at, "mia")).state.evidence_key == "r"
    fresh = decide(told.state, Retry(told.at, "mia", fresh_evidence=True)).state
    assert (fresh.phase, fresh.evidence_key) == (Phase.PENDING, "r#2")


def test_several_verdicts_of_one_guardrail_must_all_agree():
    spec = parse_spec({"candidate": "m", "guardrails": [{"latency": {}}]})
    told = Told(spec)
    told.see(), told.see(), told.see()
    both = [GuardrailVerdict(f"latency.{p}", Verdict.SAFE, "", 10_000) for p in ("p50", "p99")]
    slow = replace(both[1], verdict=Verdict.UNDECIDED)
    assert told.see(60, verdicts=(both[0], slow)).candidate_bp == 100
    assert told.see(1, verdicts=tuple(both)).candidate_bp == 500
    split = GuardrailVerdict("split", Verdict.INVALID, "6% instead of 5%")
    told.see()
    assert told.see(1, verdicts=(*both, split)).cause is Cause.INVALID


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Approve(NOW, "mia"), "Rollout r has nothing to approve: it waits for the candidate"),
        (Promote(NOW, "mia"), "cannot promote before the candidate is ready and verified"),
        (Retry(NOW, "mia"), "still under way (PENDING); abort it before a retry"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(event, told):
    with pytest.raises(InvalidState) as caught:
        decide(start(PLANS["canary"]), event)
    assert told in caught.value.message


def test_a_finished_rollout_takes_no_verbs():
    told = Told(PLANS["blue-green"])
    told.until(Phase.SUCCEEDED)
    for event in (Pause(NOW, "mia"), Abort(NOW, "mia"), Retry(NOW, "mia")):
        with pytest.raises(InvalidState, match=r"is over \(SUCCEEDED\)"):
            told.tell(event)


def test_nothing_new_is_the_same_state():
    told = Told(PLANS["canary"])
    before = told.see(candidate=PoolState.STARTING)
    assert told.see(1, candidate=PoolState.STARTING) is before


def test_why_says_where_it_stands():
    told = Told(PLANS["by-time"])
    told.see(), told.see()
    assert why(told.state) == (
        "PROGRESSING: The candidate takes 5%.\n"
        "Step 1 of 4: set_weight.\n"
        "The candidate takes 5% of the requests, not yet acknowledged by every gateway.\n"
        "It waits for every gateway to serve by the new routing.\n"
        "It has no guardrails: it goes by time and approvals, as its spec says."
    )


def test_the_diagram_in_the_docs_is_the_table():
    page = (DOCS / "why" / "rollout.md").read_text(encoding="utf-8")
    assert page.split("```mermaid\n")[1].split("\n```")[0] == mermaid()


@pytest.mark.parametrize("name", PLANS)
def test_a_state_survives_json(name):
    told = Told(PLANS[name])
    told.see(), told.see(), told.see(40)
    for state in (start(PLANS[name]), told.state):
        wire = msgspec.json.encode(state)
        assert msgspec.json.decode(wire, type=RolloutState) == state


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mapping=written(), data=st.data())
def test_random_histories_of_random_plans_keep_the_rules(mapping, data):
    limits = {"min_duration": "30s", "timeout": "2m"}
    watched: list[object] = [{"error_rate": {}}, {"predictions": {}}]
    spec = parse_spec(
        mapping
        | {"step": limits, "advance": "when-safe"}
        | {"guardrails": watched if mapping["guardrails"] else []}
    )
    state, ghost, at = start(spec), Ghost(), NOW
    for _ in range(25):
        if data.draw(st.integers(0, 4)):
            healthy = Facts(
                PoolState.READY,
                acknowledged_stage=state.stage,
                acknowledged_at=at,
                verification=Verification.PASS,
                shadow_requests=10,
                verdicts=ALL_SAFE,
            )
            options = [(60.0, healthy), *looks(state)]
            later, facts = options[
                data.draw(st.integers(0, 1)) and data.draw(st.integers(0, len(options) - 1))
            ]
            at += timedelta(seconds=later)
            event = Observed(at, replace(facts, acknowledged_at=at))
        else:
            event = replace(data.draw(st.sampled_from(verbs())), at=at)
        state, ghost = step(state, ghost, event, Rules())
