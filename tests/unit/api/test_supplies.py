"""What a server lacks is said by the call that needs it, and calls that come twice are one."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from serinus.api.app import create_app
from serinus.api.supplies import Supplies
from serinus.engine.vault import Vault
from serinus.store.repository import Store
from tests.unit.api.conftest import Api

ONE = {"entity_name": "a.fraud", "entity_version": "1"}
TWO = {"entity_name": "a.fraud", "entity_version": "2"}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vault(tmp_path) -> Vault:
    return Vault(tmp_path / "secrets")


@pytest.fixture
def api(tmp_path, vault: Vault, clock: Clock) -> Iterator[Api]:
    ids = count(1)
    with closing(Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")) as store:
        api = Api(None, store)
        api.app = create_app(
            store,
            wake=lambda: api.woken.append(None),
            replica_logs=lambda endpoint_id, served: "",
            clock=clock,
            new_id=lambda: f"{next(ids):032x}",
            workspace_id="4711",
            scheme="https",
            check=Supplies(vault.resolved, ["models.example.com"]).check,
        )
        yield api


@pytest.mark.parametrize(
    ("entity", "said"),
    [
        ({**ONE, "environment_vars": {"KEY": "{{secrets/a/b}}"}}, "KEY refers to the secret a/b"),
        ({**ONE, "environment_vars": {"KEY": "x{{secrets/a/b}}"}}, "and nothing else"),
        ({"entity_name": "http://10.0.0.1/x", "name": "x"}, "SERINUS_REMOTE_HOSTS=10.0.0.1:80"),
        ({"entity_name": "https://a:b@models.example.com", "name": "x"}, "REMOTE_TOKEN"),
        ({"entity_name": "s3://bucket/model", "name": "x"}, "of no known kind; give models:/"),
    ],
)
def test_what_the_server_lacks_is_refused_at_once_and_changes_nothing(api, entity, said):
    body = {"name": "new", "config": {"served_entities": [entity]}}
    api.create()
    api.activate()
    api.woken.clear()
    before = api("GET", "fraud").json()
    for reply in (api("POST", "", body), api("PUT", "fraud/config", {"served_entities": [entity]})):
        assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert said in reply.json()["message"]
    assert api("GET", "new").status_code == 404
    assert api("GET", "fraud").json() == before
    assert api.woken == []


def test_a_rollout_to_a_host_that_may_not_be_called_is_refused_at_once(api):
    api.create()
    api.activate()
    path = "/api/serinus/v1/endpoints/fraud/rollouts"
    refused = api("POST", path, {"candidate": "http://10.0.0.1/x"})
    assert refused.status_code == 400
    assert "SERINUS_REMOTE_HOSTS" in refused.json()["message"]
    assert api("GET", path).json() == {"rollouts": []}
    assert api("POST", path, {"candidate": "https://models.example.com/x"}).status_code == 200


def test_a_secret_that_is_there_is_shown_and_kept_as_a_reference_alone(api, vault):
    vault.put("a", "b", "sesame")
    api.create(served_entities=[{**ONE, "environment_vars": {"KEY": "{{secrets/a/b}}"}}])
    [entity] = api.store.endpoint("fraud").pending.entities
    assert entity.environment_vars == {"KEY": "{{secrets/a/b}}"}
    kept = b"".join(each.read_bytes() for each in vault._directory.parent.glob("serinus.db*"))
    assert b"{{secrets/a/b}}" in kept
    assert b"sesame" not in kept + api("GET").content + api("GET", "/api/serinus/v1/audit").content


def test_links_back_say_what_callers_speak(api):
    shown = api.create()
    assert shown["endpoint_url"] == "https://me:8080/serving-endpoints/fraud/invocations"
    known = api("GET", "/.well-known/databricks-config").json()
    assert known["oidc_endpoint"] == "https://me:8080/oidc"
    api.activate()
    document = api("GET", "fraud/openapi").json()
    assert document["servers"] == [{"url": "https://me:8080"}]


def body(**changes):
    return {"name": "fraud", "config": {"served_entities": [ONE]}, "description": "d", **changes}


def test_a_create_that_comes_again_is_answered_as_the_first_one(api, clock):
    first = api("POST", "", body(tags=[{"key": "a"}]))
    clock.now += timedelta(minutes=4)
    again = api("POST", "", body(tags=[{"key": "a"}]))
    assert (again.status_code, again.json()) == (200, first.json())
    api.activate()
    assert api("POST", "", body(tags=[{"key": "a"}])).json() == api("GET", "fraud").json()
    endpoint = api.store.endpoint("fraud")
    kinds = [each.kind for each in api.store.journal(endpoint.id)]
    assert kinds.count("endpoint_created") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"description": "another"},
        {"tags": [{"key": "a"}]},
        {"route_optimized": True},
        {"budget_policy_id": "x"},
        {"rate_limits": [{"calls": 5, "renewal_period": "minute"}]},
        {"config": {"served_entities": [TWO]}},
        {"config": {"served_entities": [{**ONE, "environment_vars": {"A": "b"}}]}},
        {"config": {"served_entities": [{**ONE, "replicas": 2}]}},
    ],
)
def test_a_create_that_asks_for_anything_else_is_refused(api, changed):
    api("POST", "", body())
    assert api("POST", "", body(**changed)).status_code == 409


def test_somebody_else_s_create_and_a_late_one_are_refused(api, clock):
    api("POST", "", body())
    sent = {"content-type": "application/json", "x-serinus-actor": "bob"}
    assert api("POST", "", body(), headers=sent).status_code == 409
    clock.now += timedelta(minutes=6)
    assert api("POST", "", body()).status_code == 409


def put(api, *entities, **headers):
    sent = {"content-type": "application/json", **headers}
    return api("PUT", "fraud/config", {"served_entities": list(entities)}, headers=sent)


@pytest.mark.parametrize("ready", [False, True])
def test_an_update_that_comes_again_is_answered_as_the_first_one(api, clock, ready):
    api.create()
    api.activate()
    first = put(api, TWO).json()
    if ready:
        api.activate()
    clock.now += timedelta(seconds=61)
    again = put(api, TWO)
    assert again.status_code == 200
    assert again.json() == (api("GET", "fraud").json() if ready else first)
    assert (again.json()["config" if ready else "pending_config"])["config_version"] == 2


def test_another_update_somebody_else_s_and_a_late_one_are_not_the_first_one(api, clock):
    api.create()
    api.activate()
    put(api, TWO)
    assert put(api, ONE).status_code == 409
    assert put(api, TWO, **{"x-serinus-actor": "bob"}).status_code == 409
    clock.now += timedelta(minutes=6)
    assert put(api, TWO).status_code == 409


def test_what_failed_or_may_lead_elsewhere_is_done_anew(api, clock):
    champion = {"entity_name": "models:/fraud@champion", "name": "c"}
    api.create()
    api.activate()
    put(api, champion)
    assert put(api, champion).json()["pending_config"]["config_version"] == 2  # still under way
    api.activate()
    assert put(api, champion).json()["pending_config"]["config_version"] == 3
    endpoint = api.store.endpoint("fraud")
    api.store.fail(endpoint.id, 3, "no", clock())
    assert put(api, champion).json()["pending_config"]["config_version"] == 4


def test_an_endpoint_that_was_deleted_meanwhile_is_made_anew(api):
    first = api("POST", "", body()).json()
    api("DELETE", "fraud")
    assert api("POST", "", body()).json()["id"] != first["id"]
