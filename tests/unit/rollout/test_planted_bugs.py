"""Bugs that were planted on purpose: each must make the walk fail, or the walk is worth nothing."""

import pytest

from serinus.errors import InternalError
from tests.unit.rollout.plans import PLANS
from tests.unit.rollout.planted import planted
from tests.unit.rollout.walk import DIAGNOSES, walk

#: name: (plan that is walked, module, source, source with the bug)
BUGS: dict[str, tuple[str, str, str, str]] = {
    "NO_DATA advances": (
        "canary",
        "gate",
        "        if not forgive_no_data:\n",
        "        if False:\n",
    ),
    "a guardrail that says nothing passes": (
        "canary",
        "gate",
        "return facts.verdicts + missing",
        "return facts.verdicts",
    ),
    "rollback forgets the traffic": (
        "canary",
        "moves",
        "        reroute(state, candidate_bp=0),\n        phase=Phase.ROLLING_BACK,",
        "        state,\n        phase=Phase.ROLLING_BACK,",
    ),
    "a step backwards": (
        "canary",
        "tick",
        "return _proceed(state, facts, at, state.step + 1)",
        "return _proceed(state, facts, at, max(state.step - 1, 0))",
    ),
    "a finished rollout moves": (
        "canary",
        "tick",
        "    if state.position is Position.END:\n        return state\n",
        "    if state.position is Position.END:\n        return roll_back("
        "state, at, Cause.ABORTED, 'again')\n",
    ),
    "a phase that the table does not allow": (
        "canary",
        "moves",
        "        phase=Phase.ROLLING_BACK,",
        "        phase=Phase.VERIFYING,",
    ),
    "pools go before the traffic is off": (
        "canary",
        "routing",
        "if state.phase not in (Phase.SUCCEEDED, Phase.ROLLED_BACK):",
        "if state.phase not in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.ROLLING_BACK):",
    ),
    "a rollback is over before it is acknowledged": (
        "canary",
        "tick",
        "return rolled_back(state, at) if gone else state",
        "return rolled_back(state, at)",
    ),
    "REGRESSED is ignored at the first step": (
        "canary",
        "tick",
        "    if found is not None:\n",
        "    if found is not None and state.step:\n",
    ),
    "the proof of a smaller exposure is enough": (
        "canary",
        "gate",
        "return each.safe_for_bp < next_bp",
        "return each.safe_for_bp <= 0",
    ),
    "the last step takes less than the full proof": (
        "canary-bake",
        "moves",
        "    if not rest or (rest[0] == steps[-1].weight_bp and not state.spec.self_test):\n",
        "    if not rest:\n",
    ),
    "a candidate that is not ready gets weight": (
        "canary",
        "tick",
        "    target = steps_of(state)[index]\n    if facts.candidate is not PoolState.READY:\n",
        "    target = steps_of(state)[index]\n    if False:\n",
    ),
    "weights rise without stable": (
        "canary",
        "tick",
        "if target.kind is not StepKind.PAUSE and not facts.stable_ready:",
        "if False:",
    ),
    "time counts before the acknowledgement": (
        "by-time",
        "tick",
        "    if state.stage_at is None:\n        return wait(state, ACKNOWLEDGEMENT)\n"
        "    if facts.candidate is not",
        "    if facts.candidate is not",
    ),
    "the least duration is forgotten": (
        "canary",
        "tick",
        "if _lasted(state, at) < least:",
        "if False:",
    ),
    "an approval step approves itself": (
        "canary",
        "tick",
        "return spell is not None and state.stage_at is not None and _waited(state, at) >= spell",
        "return state.stage_at is not None and _waited(state, at) >= (spell or 0)",
    ),
    "a person's pause is not kept": (
        "canary",
        "tick",
        "    if state.held:\n        return state\n",
        "",
    ),
    "a person's pause keeps a regression": (
        "canary",
        "tick",
        "    back = _must_go_back(state, facts, at)\n    if back is not None:\n",
        "    back = _must_go_back(state, facts, at)\n    if back is not None and not state.held:\n",
    ),
    "unverified goes on": (
        "blue-green",
        "tick",
        "not in _VERIFIED:",
        "not in (*_VERIFIED, Verification.RUNNING):",
    ),
    "a waiver sends it on at once": (
        "blue-green",
        "verbs",
        'return replace(waived, reason=f"{event.actor} waived its verification.")',
        "return replace(waived, reason='waived', candidate_bp=10_000, stage=state.stage + 1)",
    ),
    "nobody hears of the warning": (
        "blue-green",
        "consequences",
        "if new.warned and not old.warned:",
        "if False:",
    ),
    "promote raises the weight itself": (
        "canary",
        "verbs",
        "    return replace(promoted, phase=natural_phase(promoted))",
        "    return replace(promoted, phase=natural_phase(promoted), candidate_bp=10_000)",
    ),
    "an override lasts for ever": (
        "canary",
        "moves",
        "        approved=False,\n        override=Override.NONE,\n        cause=None,\n"
        "        waiting_since=at,\n    )\n    if step.kind",
        "        approved=False,\n        cause=None,\n        waiting_since=at,\n    )\n"
        "    if step.kind",
    ),
    "an approval lasts for ever": (
        "blue-green-approve",
        "moves",
        "        approved=False,\n        override=Override.NONE,\n        cause=None,\n"
        "        waiting_since=at,\n    )\n    if step.kind",
        "        override=Override.NONE,\n        cause=None,\n        waiting_since=at,\n    )\n"
        "    if step.kind",
    ),
    "success is not activated": (
        "canary",
        "moves",
        "activated=state.activated or state.candidate_bp > 0,",
        "activated=state.activated,",
    ),
    "activated again after the bake": (
        "canary-bake",
        "consequences",
        "if new.activated and not old.activated:",
        "if new.activated and new.phase is not old.phase:",
    ),
    "a rollback out of the bake fails the update": (
        "canary-bake",
        "consequences",
        "    if old.activated:\n        made = [partial(Revert",
        "    if False:\n        made = [partial(Revert",
    ),
    "the alias stays behind": (
        "canary-bake",
        "consequences",
        "        made = [partial(Revert, reason=new.reason), *_alias(new, Side.STABLE)]",
        "        made = [partial(Revert, reason=new.reason)]",
    ),
    "a failed control pool keeps its weight's promise": (
        "control",
        "moves",
        "    fits = state.spec.control and 2 * candidate_bp <= WHOLE\n",
        "    fits = state.spec.control\n",
    ),
    "a shadow succeeds without a request": (
        "shadow",
        "tick",
        "(over and facts.shadow_requests > 0)",
        "over",
    ),
    "abort is refused while it waits": (
        "canary",
        "machine",
        "**{(phase, Abort): frozenset({_P.ROLLING_BACK}) for phase in _LIVE},",
        "**{(phase, Abort): frozenset({_P.ROLLING_BACK}) for phase in _LIVE "
        "if phase is not _P.PAUSED},",
    ),
    "a refused model is forgotten": (
        "canary",
        "consequences",
        "    if new.cause not in _BLAMELESS:\n",
        "    if False:\n",
    ),
    "a step ends in spite of a diagnosed fault": (
        "diagnosed",
        "tick",
        "    if not state.fault or state.spec.on.diagnosis is not OnSilence.HOLD:\n",
        "    if True:\n",
    ),
    "a diagnosed fault rolls back": (
        "diagnosed",
        "verbs",
        "    return replace(state, fault=event.fault)\n",
        "    return roll_back(state, event.at, Cause.FAULT, event.fault)\n",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_walk_catches(bug):
    plan, module, right, wrong = BUGS[bug]
    rules = planted({module: (right, wrong)})
    with pytest.raises((AssertionError, InternalError)):
        walk(PLANS[plan], rules, told=DIAGNOSES if plan == "diagnosed" else ())


def test_a_copy_without_a_bug_passes():
    walk(PLANS["blue-green"], planted({}))
