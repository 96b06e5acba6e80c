"""An endpoint's policy, and what it makes of updates by clients of the original service."""

import pytest

from serinus.traffic import Unit, UnitKind
from tests.unit.api.rolling import BRISK, THEIRS

REFUSE = {"rollout": {**BRISK, "steps": [{"set_weight": "10%"}]}, "direct_updates": "refuse"}
INVALID = (400, "INVALID_PARAMETER_VALUE")


def test_without_a_policy_there_is_one_that_changes_nothing(rolling):
    default = {
        "rollout": None,
        "verification": "warn",
        "direct_updates": "allow",
        "caller": None,
        "cache": None,
    }
    assert rolling.good("GET", "policy") == default
    rolling.update(("2", 100))
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    assert rolling.split() == {"m-2": 100}
    assert rolling.good("GET", "rollouts") == {"rollouts": []}


def test_a_policy_is_kept_as_it_was_given(rolling):
    asked = {"rollout": {"strategy": "canary", "step": {"min_duration": "1m"}}}
    stored = rolling.good("PUT", "policy", asked)
    unsaid = {"verification": "warn", "direct_updates": "allow", "caller": None, "cache": None}
    assert stored == {**asked, **unsaid}
    assert rolling.good("GET", "policy") == stored
    rolling.good("PUT", "policy", {})
    assert rolling.good("GET", "policy")["rollout"] is None


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"rolout": {}}, "did you mean rollout"),
        ({"rollout": {"stategy": "canary"}}, "rollout.stategy is not known; did you mean strategy"),
        ({"rollout": {"steps": [{"set_weight": "500%"}]}}, "rollout.steps[0].set_weight"),
        ({"rollout": {"candidate": "models:/m/2"}}, "rollout.candidate is not part of a policy"),
        ({"rollout": {"endpoint": "f"}}, "rollout.endpoint is 'f'"),
        ({"rollout": 5}, "rollout must be a mapping"),
        ({"rollout": [1]}, "rollout must be a mapping"),
        ({"direct_updates": "refused"}, "did you mean refuse"),
        ({"verification": "of"}, "verification"),
        ({"verification": {}}, "verification"),
        ({"caller": "x-team"}, "caller.x-team is not known; known are header, json_path"),
        ({"caller": {"header": "x team"}}, "caller.header is 'x team'; write it like x-team"),
        ({"caller": {"json_path": "a..b"}}, "write it like context.team"),
        ({"cache": "5s"}, "cache.5s is not known; known are ttl"),
        ({"cache": {"ttl": 5}}, "cache.ttl is 5 without a unit; write 5s"),
        ({"cache": {"ttl": "0s"}}, "cache.ttl is '0s'; give a duration from 1ms to 1d."),
        ({"cache": {"ttl": "25h"}}, "give a duration from 1ms to 1d."),
    ],
)
def test_a_bad_policy_is_refused(rolling, policy, words):
    status, code, message = rolling.refused("PUT", "policy", policy)
    assert (status, code) == INVALID
    assert words in message
    assert rolling.store.rollouts.policy("id-of-e") is None


def test_how_long_answers_are_kept_reaches_the_gateways(rolling):
    routes = rolling.store.routes().endpoints[0]
    assert (routes.cache_ttl_s, {each.edition for each in routes.served}) == (0.0, {""})
    rolling.good("PUT", "policy", {"cache": {"ttl": "1500ms"}})
    assert rolling.good("GET", "policy")["cache"] == {"ttl": "1500ms"}
    rolling.world.pass_time(1)
    routes = rolling.store.routes().endpoints[0]
    assert routes.cache_ttl_s == 1.5
    [before] = [each.edition for each in routes.served]
    assert before
    rolling.update(("2", 100))  # another model and another config: another edition
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    assert before not in {each.edition for each in rolling.store.routes().endpoints[0].served}
    rolling.good("PUT", "policy", {})
    rolling.world.pass_time(1)
    routes = rolling.store.routes().endpoints[0]
    assert (routes.cache_ttl_s, {each.edition for each in routes.served}) == (0.0, {""})


def test_where_callers_are_named_reaches_the_gateways(rolling):
    rolling.good("PUT", "policy", {"caller": {"header": "X-Team"}})
    assert rolling.good("GET", "policy")["caller"] == {"header": "x-team"}
    routes = rolling.store.routes().endpoints[0]
    assert routes.caller == Unit(UnitKind.HEADER, "x-team")
    rolling.good("PUT", "policy", {"caller": {"json_path": "context.team"}})
    assert rolling.store.routes().endpoints[0].caller == Unit(UnitKind.JSON_PATH, "context.team")
    rolling.good("PUT", "policy", {})
    assert rolling.store.routes().endpoints[0].caller is None


def test_required_is_kept(rolling):
    rolling.good("PUT", "policy", {"verification": "required"})
    assert rolling.good("GET", "policy")["verification"] == "required"


def test_a_rollout_goes_by_the_policy_where_it_says_nothing_itself(rolling):
    rolling.deaf = True
    default = {"strategy": "blue-green", "cutover": "approve", "guardrails": []}
    rolling.good("PUT", "policy", {"rollout": default})
    found = rolling.good("POST", "rollouts", {"candidate": "models:/m/2"})
    assert (found["strategy"], found["spec"]["cutover"]) == ("blue-green", "approve")


def test_another_strategy_leaves_behind_what_belongs_to_the_policys(rolling):
    rolling.deaf = True
    default = {"strategy": "blue-green", "cutover": "approve", "guardrails": []}
    rolling.good("PUT", "policy", {"rollout": default})
    asked = {"candidate": "models:/m/2", "strategy": "canary"}
    found = rolling.good("POST", "rollouts", asked)
    assert (found["strategy"], found["spec"]["guardrails"]) == ("canary", [])
    assert "cutover" not in found["spec"]


@pytest.mark.parametrize("policy", [REFUSE, {**REFUSE, "direct_updates": "allow"}])
def test_an_update_to_a_new_version_becomes_a_rollout(rolling, policy):
    rolling.good("PUT", "policy", policy)
    reply = rolling.update(("2", 100))
    assert reply.status_code == 200
    endpoint = reply.json()
    assert endpoint["state"] == {"ready": "READY", "config_update": "IN_PROGRESS"}
    assert [each["name"] for each in endpoint["config"]["served_entities"]] == ["m-1"]
    assert [each["name"] for each in endpoint["pending_config"]["served_entities"]] == ["m-2"]
    seen = []
    while rolling.now()["phase"] != "SUCCEEDED":
        seen.append((rolling.split(), rolling.endpoint()["state"]["config_update"]))
        rolling.world.pass_time(1, turns=1)
    # A moment at 100 % before the target is the config.
    assert ({"m-1": 90, "m-2": 10}, "IN_PROGRESS") in seen
    assert seen[0] == ({"m-1": 100}, "IN_PROGRESS")
    assert seen[-1][1] == "IN_PROGRESS"
    ended = rolling.endpoint()
    assert ended["state"]["config_update"] == "NOT_UPDATING"
    assert "pending_config" not in ended
    assert rolling.split() == {"m-2": 100}


def test_an_update_that_is_rolled_back_has_failed_and_says_why(rolling):
    rolling.good("PUT", "policy", REFUSE)
    rolling.update(("2", 100))
    rolling.until("PROGRESSING")
    rolling.world.pass_time(1)
    assert rolling.split() == {"m-1": 90, "m-2": 10}
    rolling.good("POST", "rollouts/current/abort", {"reason": "bad numbers"})
    rolling.world.pass_time(1)
    ended = rolling.endpoint()
    assert ended["state"] == {"ready": "READY", "config_update": "UPDATE_FAILED"}
    assert rolling.split() == {"m-1": 100}
    (entity,) = ended["pending_config"]["served_entities"]
    assert entity["state"]["deployment"] == "DEPLOYMENT_ABORTED"
    assert "bad numbers" in entity["state"]["deployment_state_message"]


def test_the_held_back_share_is_shown_while_it_bakes(rolling):
    rolling.start(bake={"for": "10m", "holdback": "5%"})
    rolling.until("BAKING")
    shown = rolling.endpoint()
    assert shown["state"]["config_update"] == "NOT_UPDATING"
    assert "pending_config" not in shown
    assert rolling.split() == {"m-2": 95, "m-1": 5}
    assert {each["name"] for each in shown["config"]["served_entities"]} == {"m-1", "m-2"}
    (listed,) = rolling.good("GET", THEIRS)["endpoints"]
    assert listed == shown
    rolling.world.pass_time(301)  # by now it is no client that only sends again
    assert rolling.update(("2", 100)).status_code == 409
    rolling.good("POST", "rollouts/current/abort")
    rolling.world.pass_time(1)
    assert rolling.split() == {"m-1": 100}


def test_a_share_below_a_percent_rounds_to_what_is_nearest(rolling):
    rolling.start(steps=[{"set_weight": "0.1%"}, {"pause": {}}])
    rolling.until("PAUSED")
    assert rolling.split() == {"m-1": 100, "m-2": 0}
    assert sum(each.weight_bp for each in rolling.world.gateways.now.served) == 10_000


def test_the_control_pool_is_shown_as_stable(rolling):
    rolling.start(control=True, steps=[{"set_weight": "20%"}, {"pause": {}}])
    rolling.until("PAUSED")
    assert rolling.world.weights() == {"m-1": 6_000, "m-1-control": 2_000, "m-2": 2_000}
    assert rolling.split() == {"m-1": 80, "m-2": 20}


def test_an_update_may_keep_the_old_version_without_traffic(rolling):
    rolling.good("PUT", "policy", REFUSE)
    assert rolling.update(("1", 0), ("2", 100)).status_code == 200
    rolling.until("SUCCEEDED")
    assert rolling.split() == {"m-2": 100, "m-1": 0}
    assert rolling.world.running() == {"d1", "d2"}


def test_an_update_under_the_name_of_stable_gets_a_name_of_its_own(rolling):
    rolling.good("PUT", "policy", REFUSE)
    entity = {"name": "m-1", "entity_name": "m", "entity_version": "2"}
    rolling.good("PUT", f"{THEIRS}/e/config", {"served_entities": [entity]})
    assert rolling.until("SUCCEEDED")["candidate"] == "m-2"
    assert rolling.split() == {"m-2": 100}


@pytest.mark.parametrize(
    ("served", "words"),
    [
        ((("1", 90), ("2", 10)), "straight to m-2"),
        ((("2", 50), ("3", 50)), "straight to m-2, m-3"),
        ((("1", 50), ("7", 50)), "raise m-7 from 0 % to 50 %"),
        ((("7", 100),), "raise m-7"),
    ],
)
def test_a_policy_may_refuse_every_other_way_to_users(rolling, served, words):
    rolling.update(("1", 100), ("7", 0))
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    rolling.good("PUT", "policy", REFUSE)
    before = rolling.store.endpoint("e")
    reply = rolling.update(*served)
    assert (reply.status_code, reply.json()["error_code"]) == INVALID
    assert words in reply.json()["message"]
    assert "serinus rollout start e --candidate" in reply.json()["message"]
    assert rolling.store.endpoint("e") == before
    assert rolling.good("GET", "rollouts") == {"rollouts": []}


@pytest.mark.parametrize("served", [(("1", 100),), (("1", 100), ("2", 0))])
def test_what_sends_nobody_to_anything_new_is_no_rollout(rolling, served):
    rolling.good("PUT", "policy", REFUSE)
    assert rolling.update(*served).status_code == 200
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    assert rolling.split() == {f"m-{version}": share for version, share in served}
    assert rolling.good("GET", "rollouts") == {"rollouts": []}


def test_an_explicit_split_is_done_as_asked_where_direct_updates_are_allowed(rolling):
    rolling.good("PUT", "policy", {**REFUSE, "direct_updates": "allow"})
    assert rolling.update(("1", 90), ("2", 10)).status_code == 200
    rolling.world.until(lambda: "pending_config" not in rolling.endpoint())
    assert rolling.split() == {"m-1": 90, "m-2": 10}


def test_other_variables_for_the_same_model_are_no_candidate(rolling):
    served = [{"entity_name": "m", "entity_version": "1", "environment_vars": {"A": "b"}}]
    rolling.good("PUT", "policy", REFUSE)
    refused = rolling.refused("PUT", f"{THEIRS}/e/config", {"served_entities": served})
    assert refused[:2] == INVALID
    rolling.good("PUT", "policy", {**REFUSE, "direct_updates": "allow"})
    rolling.good("PUT", f"{THEIRS}/e/config", {"served_entities": served})
    assert rolling.good("GET", "rollouts") == {"rollouts": []}


def test_a_newer_update_supersedes_the_rollout_of_the_older(rolling):
    rolling.good("PUT", "policy", REFUSE)
    rolling.update(("2", 100))
    rolling.until("PROGRESSING")
    before = rolling.endpoint()
    assert rolling.update(("2", 100)).json() == before  # sent again, and not begun again
    assert rolling.update(("2", 100), x_serinus_actor="bob").status_code == 409
    rolling.world.pass_time(1)
    assert rolling.update(("3", 100)).status_code == 200
    assert rolling.until("SUCCEEDED")["candidate"] == "m-3"
    phases = [each["phase"] for each in rolling.good("GET", "rollouts")["rollouts"]]
    assert phases == ["SUCCEEDED", "ROLLED_BACK"]
