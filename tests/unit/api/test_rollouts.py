"""The rollout calls: what they start, what they show, and what becomes of it."""

from datetime import timedelta

import msgspec
import pytest

from serinus.entities import WHOLE
from serinus.evidence.summary import ArmSummary, Flush, StageSummary
from serinus.rollout.judging import Kept
from serinus.store.journal import JournalEntry

RESOURCE = {
    *("id", "endpoint", "strategy", "phase", "reason", "stable", "candidate", "weight_bp"),
    *("step", "steps", "unit", "guardrails", "waiting_for", "created_by", "started_at"),
    *("updated_at", "stage", "shadow_bp", "config_version", "cause", "spec", "ended_at"),
}


def test_a_rollout_is_shown_whole(rolling):
    rolling.deaf = True
    asked = {"candidate": "models:/m/2", "unit": {"header": "X-User-Id"}}
    found = rolling.good("POST", "rollouts", asked, x_serinus_actor="ada")
    assert set(found) >= RESOURCE
    assert (found["endpoint"], found["stable"], found["candidate"]) == ("e", "m-1", "m-2")
    assert (found["strategy"], found["phase"], found["weight_bp"]) == ("canary", "PENDING", 0)
    assert found["steps"] == [
        {"set_weight": weight} for weight in ("1%", "5%", "25%", "50%", "100%")
    ]
    assert found["unit"] == {"header": "x-user-id"}
    assert found["created_by"] == "ada"
    assert found["guardrails"] == [
        {"name": name, "verdict": "NO_DATA", "reason": "nothing was measured yet"}
        for name in ("error_rate", "latency", "predictions")
    ]
    assert found["started_at"].endswith("Z")
    assert found["ended_at"] is None
    assert found["spec"]["candidate"] == "models:/m/2"
    assert found["config_version"] == 2
    stored = rolling.store.rollouts.get(found["id"])
    assert stored.state.spec.endpoint == "e"
    target = rolling.store.config(stored.endpoint_id, stored.target_version)
    assert target.weights == {"m-2": WHOLE}


def test_a_rollout_by_time_goes_all_the_way_and_every_call_tells_it_alike(rolling):
    id_ = rolling.start()["id"]
    seen: list[int] = []
    found = rolling.now()
    for _ in range(40):
        found = rolling.good("GET", f"rollouts/{id_}")
        assert found == rolling.now()
        assert rolling.good("GET", "rollouts")["rollouts"] == [found]
        if not seen or seen[-1] != found["weight_bp"]:
            seen.append(found["weight_bp"])
        rolling.world.pass_time(1.0)
    assert seen == [0, 100, 500, 2_500, 5_000, WHOLE]
    assert found["phase"] == "SUCCEEDED"
    assert found["ended_at"] >= found["started_at"]
    assert "goes by time and approvals" in found["why"]


def test_silence_holds_a_rollout_with_guardrails(rolling):
    rolling.good("POST", "rollouts", {"candidate": "models:/m/2"})
    rolling.world.pass_time(2)
    for _ in range(5):
        rolling.world.pass_time(600)
    found = rolling.now()
    assert (found["weight_bp"], found["phase"]) == (100, "PROGRESSING")
    assert {each["verdict"] for each in found["guardrails"]} == {"NO_DATA"}
    assert found["stage_age_s"] >= 2400
    evidence = rolling.good("GET", "rollouts/current/evidence")
    assert evidence["guardrails"] == found["guardrails"]
    assert [each["weight_bp"] for each in evidence["stages"]] == [0, 100]


def test_the_newest_verdicts_of_the_journal_are_shown(rolling):
    rolling.good("POST", "rollouts", {"candidate": "models:/m/2"})
    rolling.world.pass_time(2)
    rollout = rolling.store.rollouts.get(rolling.now()["id"])
    said = [
        {"name": "latency.p50", "verdict": "SAFE", "reason": "a"},
        {"name": "latency.p99", "verdict": "UNDECIDED", "reason": "b"},
        {"name": "error_rate", "verdict": "SAFE", "reason": "c"},
    ]
    data = {"event": "observed", "stage": 1, "candidate_bp": 100, "shadow_bp": 0, "verdicts": said}
    at = rolling.world.at
    rolling.store.append(
        [
            JournalEntry(
                "x", "rollout_decided", at, rollout.endpoint_id, data, rollout_id=rollout.state.id
            )
        ]
    )
    nothing = {"verdict": "NO_DATA", "reason": "nothing was measured yet"}
    assert rolling.now()["guardrails"] == [*said, {"name": "predictions", **nothing}]


def test_verbs_are_heard(rolling):
    rolling.start(steps=[{"set_weight": "10%"}, {"pause": {}}, {"set_weight": "50%"}])
    rolling.until("PROGRESSING")
    assert rolling.good("POST", "rollouts/current/pause")["phase"] == "PAUSED"
    assert rolling.good("POST", "rollouts/current/resume", {})["phase"] == "PROGRESSING"
    found = rolling.until("PAUSED")
    assert (found["cause"], found["waiting_for"]) == ("approval", "approve")
    rolling.good("POST", "rollouts/current/approve", x_serinus_actor="grace")
    rolling.world.pass_time(2)
    assert rolling.now()["weight_bp"] == 5_000
    rolling.good("POST", "rollouts/current/promote", {"full": True})
    rolling.world.pass_time(1)
    assert rolling.now()["phase"] == "SUCCEEDED"
    entries = rolling.good("GET", "rollouts/current/journal")["entries"]
    asked = [each["data"].get("event") for each in entries if each["actor"] != "controller"]
    assert asked == [None, "pause", "resume", "approve", "promote"]
    assert "grace" in {each["actor"] for each in entries}


def test_an_abort_goes_back_and_a_retry_forth(rolling):
    id_ = rolling.start()["id"]
    rolling.until("PROGRESSING")
    rolling.good("POST", f"rollouts/{id_}/abort", {"reason": "looks odd"})
    rolling.world.pass_time(1)
    found = rolling.now()
    assert (found["phase"], found["cause"], found["weight_bp"]) == ("ROLLED_BACK", "aborted", 0)
    assert "looks odd" in found["reason"]
    assert rolling.good("POST", f"rollouts/{id_}/retry")["phase"] != "ROLLED_BACK"
    assert rolling.until("SUCCEEDED")["attempt"] == 2


def test_a_verb_that_does_not_fit_is_refused_now_and_not_stored(rolling):
    rolling.deaf = True
    rolling.start()
    assert rolling.refused("POST", "rollouts/current/promote")[:2] == (400, "INVALID_STATE")
    assert rolling.refused("POST", "rollouts/current/retry")[:2] == (400, "INVALID_STATE")
    assert rolling.store.rollouts.wishes() == ()


def test_a_verb_is_judged_by_what_was_asked_just_before(rolling):
    rolling.start()
    rolling.until("PROGRESSING")
    rolling.deaf = True
    rolling.good("POST", "rollouts/current/pause")
    rolling.good("POST", "rollouts/current/resume")
    rolling.good("POST", "rollouts/current/abort")
    status, code, message = rolling.refused("POST", "rollouts/current/pause")
    assert (status, code) == (400, "INVALID_STATE")
    assert "rolling back already" in message
    assert [wish.verb for wish in rolling.store.rollouts.wishes()] == ["pause", "resume", "abort"]


def test_a_newer_candidate_takes_the_place_of_the_older(rolling):
    first = rolling.start(2)["id"]
    rolling.until("PROGRESSING")
    rolling.world.at += timedelta(seconds=1)
    second = rolling.start(3)
    before = rolling.good("GET", f"rollouts/{first}")
    assert (before["phase"], before["cause"]) == ("ROLLED_BACK", "superseded")
    assert (second["stable"], second["candidate"]) == ("m-1", "m-3")
    assert rolling.now()["id"] == second["id"]
    assert rolling.until("SUCCEEDED")["candidate"] == "m-3"
    assert [each["id"] for each in rolling.good("GET", "rollouts")["rollouts"]] == [
        second["id"],
        first,
    ]


def test_a_newer_candidate_in_a_bake_starts_from_stable(rolling):
    rolling.start(2, bake={"for": "1h", "holdback": "5%"})
    rolling.until("BAKING")
    rolling.world.at += timedelta(seconds=1)
    assert rolling.start(3)["stable"] == "m-1"
    assert rolling.until("SUCCEEDED")["candidate"] == "m-3"


def test_making_room_takes_as_long_as_it_takes_and_says_so(rolling):
    first = rolling.start(2)["id"]
    rolling.until("PROGRESSING")
    rolling.world.gateways.prompt = False
    asked = {"candidate": "models:/m/3", "guardrails": []}
    status, code, message = rolling.refused("POST", "rollouts", asked)
    assert (status, code) == (409, "RESOURCE_CONFLICT")
    assert first in message
    assert "Ask again" in message
    assert rolling.now()["phase"] == "ROLLING_BACK"
    assert rolling.refused("POST", "rollouts", asked)[0] == 409
    rolling.world.gateways.prompt = True
    rolling.world.gateways.catch_up()
    rolling.world.pass_time(1)
    assert rolling.good("POST", "rollouts", asked)["candidate"] == "m-3"


def test_the_same_candidate_again_disturbs_nothing(rolling):
    rolling.start(2)
    rolling.until("PROGRESSING")
    status, code, message = rolling.refused("POST", "rollouts", {"candidate": "models:/m/2"})
    assert (status, code) == (409, "RESOURCE_CONFLICT")
    assert "already" in message
    assert rolling.now()["phase"] == "PROGRESSING"


def test_a_retry_from_a_version_that_no_longer_serves_is_refused(rolling):
    first = rolling.start(2)["id"]
    rolling.until("PROGRESSING")
    rolling.world.at += timedelta(seconds=1)
    rolling.start(3)
    assert rolling.refused("POST", f"rollouts/{first}/retry")[:2] == (409, "RESOURCE_CONFLICT")
    rolling.until("SUCCEEDED")
    status, code, message = rolling.refused("POST", f"rollouts/{first}/retry")
    assert (status, code) == (400, "INVALID_STATE")
    assert "models:/m/2" in message


def test_a_version_that_is_served_already_without_traffic_needs_no_second_pool(rolling):
    assert rolling.update(("1", 100), ("2", 0)).status_code == 200
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    running = rolling.world.running()
    assert rolling.start(2)["candidate"] == "m-2"
    assert rolling.until("SUCCEEDED")
    assert rolling.world.running() == running
    assert rolling.split() == {"m-2": 100}


def test_what_carries_no_traffic_stays_as_it_is(rolling):
    rolling.update(("1", 100), ("7", 0))
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    rolling.start(2)
    rolling.until("SUCCEEDED")
    assert rolling.split() == {"m-2": 100, "m-7": 0}


def test_names_stay_apart(rolling):
    entity = {"name": "m-2", "entity_name": "m", "entity_version": "9"}
    rolling("PUT", "/api/2.0/serving-endpoints/e/config", {"served_entities": [entity]})
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    assert rolling.start(2)["candidate"] == "m-2-2"


def test_a_split_has_no_stable(rolling):
    rolling.update(("1", 60), ("2", 40))
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    status, code, message = rolling.refused("POST", "rollouts", {"candidate": "models:/m/3"})
    assert (status, code) == (400, "INVALID_STATE")
    assert "m-1 60 %, m-2 40 %" in message


def test_the_journal_comes_in_pages(rolling):
    rolling.start()
    rolling.until("SUCCEEDED")
    whole = rolling.good("GET", "rollouts/current/journal?limit=1000")
    assert whole["next"] is None
    entries, after = [], 0
    while after is not None:
        page = rolling.good("GET", f"rollouts/current/journal?after={after}&limit=4")
        entries += page["entries"]
        after = page["next"]
    assert entries == whole["entries"]
    assert entries[0]["kind"] == "rollout_started"
    assert entries[0]["data"]["by_time_and_approvals"] is True
    assert len(entries) > 8


def test_undo_goes_back_in_one_change_of_routes(rolling):
    rolling.start(2)
    rolling.until("SUCCEEDED")
    running = rolling.world.running()
    rolling.world.at += timedelta(seconds=1)
    undone = rolling.good("POST", "undo")
    assert (undone["strategy"], undone["candidate"]) == ("blue-green", "m-1")
    assert undone["spec"]["guardrails"] == []
    assert rolling.until("SUCCEEDED")["id"] == undone["id"]
    assert rolling.world.running() == running
    assert rolling.split() == {"m-1": 100}
    shares = [table.endpoints[0].stage for table in rolling.world.gateways.tables]
    assert [each.candidate_bp for each in shares if each and each.rollout_id == undone["id"]] == [
        *(0, WHOLE)
    ]


def test_undo_of_a_rollout_under_way_is_an_abort(rolling):
    id_ = rolling.start(2)["id"]
    rolling.until("PROGRESSING")
    assert rolling.good("POST", "undo", {"to": None})["id"] == id_
    rolling.world.pass_time(1)
    assert rolling.now()["phase"] == "ROLLED_BACK"


def test_undo_to_a_version_of_the_config(rolling):
    for number in (2, 3):
        rolling.world.at += timedelta(seconds=1)
        rolling.start(number)
        rolling.until("SUCCEEDED")
    rolling.world.at += timedelta(seconds=1)
    assert rolling.good("POST", "undo", {"to": 1})["candidate"] == "m-1"
    rolling.until("SUCCEEDED")
    assert rolling.split() == {"m-1": 100}


def test_undo_says_when_there_is_nothing_to_undo(rolling):
    assert rolling.refused("POST", "undo")[:2] == (400, "INVALID_STATE")
    assert rolling.refused("POST", "undo", {"to": 1})[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert rolling.refused("POST", "undo", {"to": 9})[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    rolling.start(2)
    rolling.until("SUCCEEDED")
    rolling.update(("5", 100))
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    status, code, message = rolling.refused("POST", "undo")
    assert (status, code) == (400, "INVALID_STATE")
    assert "--to N" in message


def test_undo_after_a_rollback_goes_no_further_back(rolling):
    rolling.start(2)
    rolling.until("SUCCEEDED")
    rolling.world.at += timedelta(seconds=1)
    rolling.start(3)
    rolling.until("PROGRESSING")
    rolling.good("POST", "rollouts/current/abort")
    rolling.until("ROLLED_BACK")
    rolling.world.at += timedelta(seconds=1)
    status, code, message = rolling.refused("POST", "undo")
    assert (status, code) == (400, "INVALID_STATE")
    assert "to m-3, was rolled back already: m-2 serves" in message
    assert rolling.good("POST", "undo", {"to": 1})["candidate"] == "m-1"


def test_undo_never_leads_to_what_was_never_served(rolling):
    rolling.world.unknown.add("models:/m/8")
    rolling.start(8)
    rolling.until("ROLLED_BACK")
    status, code, message = rolling.refused("POST", "undo", {"to": 2})
    assert (status, code) == (400, "INVALID_STATE")
    assert "m-8" in message


def test_an_actor_that_is_no_name_is_nobody(rolling):
    found = rolling.good("POST", "rollouts", {"candidate": "models:/m/2"}, x_serinus_actor=" ")
    assert found["created_by"] == "anonymous"


BAD: dict[str, tuple[str, str, object, tuple[int, str], str]] = {
    "no body": ("POST", "rollouts", None, (400, "INVALID_PARAMETER_VALUE"), "body"),
    "a list": ("POST", "rollouts", [], (400, "INVALID_PARAMETER_VALUE"), "JSON object"),
    "no candidate": ("POST", "rollouts", {}, (400, "INVALID_PARAMETER_VALUE"), "candidate"),
    "a slip": (
        "POST",
        "rollouts",
        {"candidate": "models:/m/2", "stategy": "canary"},
        (400, "INVALID_PARAMETER_VALUE"),
        "did you mean strategy",
    ),
    "stable": (
        "POST",
        "rollouts",
        {"candidate": "models:/m/1"},
        (400, "INVALID_PARAMETER_VALUE"),
        "serves already",
    ),
    "no URI": (
        "POST",
        "rollouts",
        {"candidate": "m"},
        (400, "INVALID_PARAMETER_VALUE"),
        "models:/my-model/2",
    ),
    "dots": (
        "POST",
        "rollouts",
        {"candidate": "/a/../b"},
        (400, "INVALID_PARAMETER_VALUE"),
        "candidate '/a/../b' contains '..'",
    ),
    "another endpoint": (
        "POST",
        "rollouts",
        {"candidate": "models:/m/2", "endpoint": "f"},
        (400, "INVALID_PARAMETER_VALUE"),
        "'f'",
    ),
    "another kind": (
        "POST",
        "rollouts",
        {"candidate": "models:/m/2", "kind": "Policy"},
        (400, "INVALID_PARAMETER_VALUE"),
        "Rollout",
    ),
    "NaN": (
        "POST",
        "rollouts",
        b'{"candidate": "models:/m/2", "steps": [{"set_weight": NaN}]}',
        (400, "INVALID_PARAMETER_VALUE"),
        "steps[0].set_weight",
    ),
    "half a surrogate": (
        "POST",
        "rollouts",
        b'{"candidate": "models:/m/\\ud800"}',
        (400, "INVALID_PARAMETER_VALUE"),
        "candidate",
    ),
    "NUL": (
        "POST",
        "rollouts",
        {"candidate": "models:/m\0/2"},
        (400, "INVALID_PARAMETER_VALUE"),
        "candidate",
    ),
    "deep": (
        "POST",
        "rollouts",
        b'{"candidate":' + b"[" * 500 + b"]" * 500 + b"}",
        (400, "INVALID_PARAMETER_VALUE"),
        "nested",
    ),
    "for ever": (
        "POST",
        "rollouts",
        {"candidate": "models:/m/2", "rollback": {"keep_warm": "99999999999d"}},
        (400, "INVALID_PARAMETER_VALUE"),
        "rollback.keep_warm is longer than 3650d",
    ),
    "no rollout yet": (
        "GET",
        "rollouts/current",
        None,
        (404, "RESOURCE_DOES_NOT_EXIST"),
        "no rollout yet",
    ),
    "unknown rollout": (
        "POST",
        "rollouts/abc/abort",
        None,
        (404, "RESOURCE_DOES_NOT_EXIST"),
        "'abc'",
    ),
    "unknown verb": ("POST", "rollouts/abc/stop", None, (404, "RESOURCE_DOES_NOT_EXIST"), "stop"),
    "unknown endpoint": (
        "GET",
        "/api/serinus/v1/endpoints/f/rollouts",
        None,
        (404, "RESOURCE_DOES_NOT_EXIST"),
        "'f'",
    ),
    "limit": ("GET", "rollouts?limit=0", None, (400, "INVALID_PARAMETER_VALUE"), "limit"),
    "undo to text": (
        "POST",
        "undo",
        {"to": "one"},
        (400, "INVALID_PARAMETER_VALUE"),
        "to: input should be a valid integer",
    ),
    "undo slip": (
        "POST",
        "undo",
        {"too": 1},
        (400, "INVALID_PARAMETER_VALUE"),
        "did you mean 'to'?",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_with_words_that_help(rolling, case):
    method, path, body, expected, words = BAD[case]
    status, code, message = rolling.refused(method, path, body)
    assert (status, code) == expected, message
    assert words in message
    assert "Unexpected error" not in message
    assert rolling.good("GET", "rollouts") == {"rollouts": []}


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("promote", {"ful": True}, "did you mean 'full'?"),
        ("promote", {"full": "yes"}, "full"),
        ("pause", {"full": True}, "this call takes none"),
        ("abort", {"reason": "x\0"}, "NUL"),
        ("abort", {"reason": 5}, "reason"),
        ("abort", [], "JSON object"),
        ("retry", {"fresh": True}, "known are fresh_evidence"),
    ],
)
def test_a_bad_body_of_a_verb_is_refused(rolling, verb, body, words):
    rolling.start()
    status, code, message = rolling.refused("POST", f"rollouts/current/{verb}", body)
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert words in message


def test_nothing_starts_before_anything_serves(rolling):
    rolling.deaf = True
    config = {"served_entities": [{"entity_name": "m", "entity_version": "1"}]}
    rolling.good("POST", "/api/2.0/serving-endpoints", {"name": "new", "config": config})
    path = "/api/serinus/v1/endpoints/new"
    asked = {"candidate": "models:/m/2"}
    assert rolling.refused("POST", f"{path}/rollouts", asked)[:2] == (400, "INVALID_STATE")
    assert rolling.refused("POST", f"{path}/undo")[:2] == (400, "INVALID_STATE")


def test_a_rollout_of_another_endpoint_is_not_this_ones(rolling):
    id_ = rolling.start()["id"]
    config = {"served_entities": [{"entity_name": "m", "entity_version": "1"}]}
    rolling.good("POST", "/api/2.0/serving-endpoints", {"name": "new", "config": config})
    path = f"/api/serinus/v1/endpoints/new/rollouts/{id_}/abort"
    assert rolling.refused("POST", path)[0] == 404
    assert rolling.now()["phase"] != "ROLLING_BACK"


def test_a_replay_says_that_every_decision_stands(rolling):
    rolling.start()
    rolling.until("PROGRESSING")
    rolling.good("POST", "rollouts/current/abort", {"reason": "enough"})
    found = rolling.good("GET", f"rollouts/{rolling.until('ROLLED_BACK')['id']}/replay")
    assert (found["stands"], found["judged"]) == (True, 0)
    moves = [(each["event"], each["to"]) for each in found["decisions"]]
    assert ("abort", "ROLLING_BACK") in moves
    assert moves[-1] == ("observed", "ROLLED_BACK")
    assert {each["actor"] for each in found["decisions"]} >= {"controller"}
    entries = rolling.good("GET", "rollouts/current/journal")["entries"]
    assert [each["entry"] for each in found["decisions"]] == [
        each["id"] for each in entries if each["kind"] == "rollout_decided"
    ]
    assert rolling.refused("GET", "rollouts/nobody/replay")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_verdicts_are_those_of_the_evidence_kept_last_until_it_goes_back(rolling):
    """A step may last for hours without a decision: what is shown must not be as old as that."""
    steps = [{"set_weight": "10%"}, {"set_weight": "50%"}]
    guardrails: list[dict[str, object]] = [{"error_rate": {}}]
    rolling.good(
        "POST",
        "rollouts",
        {"candidate": "models:/m/2", "steps": steps, "guardrails": guardrails},
    )
    rolling.world.until(lambda: rolling.now()["weight_bp"] == 1000)
    state = rolling.world.state(rolling.now()["id"])
    assert rolling.now()["guardrails"][0]["verdict"] == "NO_DATA"

    def counted(requests: int) -> None:
        kept = Kept()
        some = ArmSummary(requests=requests, units=requests)
        total = StageSummary(state.id, state.stage, 5000, stable=some, candidate=some)
        kept.ledger.replace(Flush("g", "i", 1, [total]))
        stored = msgspec.to_builtins(kept, str_keys=True)
        rolling.store.rollouts.keep_evidence(state.id, state.evidence_key, stored, rolling.world.at)

    counted(100)
    [few] = rolling.now()["guardrails"]
    counted(50_000)
    [many] = rolling.now()["guardrails"]
    assert (few["verdict"], many["verdict"]) == ("UNDECIDED", "SAFE")
    evidence = rolling.good("GET", "rollouts/current/evidence")
    assert evidence["guardrails"] == [many]
    assert evidence["stages"][-1]["guardrails"] == [many]
    rolling.good("POST", "rollouts/current/abort")
    rolling.until("ROLLED_BACK")
    assert rolling.now()["guardrails"][0]["verdict"] == "NO_DATA"  # the journal's last word


def test_a_refused_model_names_the_command_that_takes_its_rollout_up_again(rolling):
    first = rolling.start()["id"]
    rolling.until("PROGRESSING")
    rolling.good("POST", "rollouts/current/abort")
    rolling.until("ROLLED_BACK")
    rolling.start()
    found = rolling.until("ROLLED_BACK")
    assert found["id"] != first
    assert f"serinus rollout retry e --id {first} takes that one up again" in found["reason"]
    assert rolling.good("POST", f"rollouts/{first}/retry")["attempt"] == 2


def test_without_any_rollout_the_command_for_one_is_named(rolling):
    _, _, message = rolling.refused("GET", "rollouts/current")
    assert message.endswith("Start one: serinus rollout start e --candidate URI")
