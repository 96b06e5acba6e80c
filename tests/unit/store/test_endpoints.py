"""What the store keeps of endpoints and their configs, and how an update ends."""

from dataclasses import replace
from datetime import timedelta

import pytest

from serinus.entities import ConfigUpdate, Deployment, EndpointConfig
from serinus.errors import (
    InvalidState,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
)
from serinus.store.journal import JournalEntry
from serinus.store.rows import BUILD_LOG_LIMIT


def test_everything_of_an_endpoint_comes_back_as_it_was(store, make_endpoint):
    endpoint = make_endpoint()
    assert store.create_endpoint(endpoint) == endpoint
    assert store.endpoint("fraud") == endpoint
    assert store.endpoints() == (endpoint,)


def test_microseconds_are_cut_and_zones_become_utc(store, make_endpoint, at):
    odd = at + timedelta(microseconds=999)
    stored = store.create_endpoint(replace(make_endpoint(), created_at=odd))
    assert stored.created_at == at
    assert stored.created_at.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused_and_nothing_is_stored(store, make_endpoint, at):
    with pytest.raises(ValueError, match="no time zone"):
        store.create_endpoint(replace(make_endpoint(), created_at=at.replace(tzinfo=None)))
    assert store.endpoints() == ()


def test_a_taken_name_is_refused_until_its_endpoint_is_deleted(store, make_endpoint, later):
    store.create_endpoint(make_endpoint())
    with pytest.raises(ResourceAlreadyExists, match="fraud already exists"):
        store.create_endpoint(make_endpoint(id_="second"))
    store.delete_endpoint("fraud", later)
    assert store.create_endpoint(make_endpoint(id_="second")).id == "second"
    assert [each.id for each in store.endpoints()] == ["second"]
    assert {each.id for each in store.endpoints(include_deleted=True)} == {"id-fraud", "second"}


@pytest.mark.parametrize("name", ["nope", "fraud"])
def test_what_is_not_there_or_deleted_does_not_exist(store, make_endpoint, later, name):
    store.create_endpoint(make_endpoint())
    store.delete_endpoint("fraud", later)
    sentence = f"Endpoint with name '{name}' does not exist."
    calls = (
        lambda: store.endpoint(name),
        lambda: store.delete_endpoint(name, later),
        lambda: store.put_config(name, lambda _: pytest.fail("asked"), later),
        lambda: store.set_fields(name, at=later, description="x"),
    )
    for call in calls:
        with pytest.raises(ResourceDoesNotExist) as caught:
            call()
        assert caught.value.message == sentence


def test_activation_moves_the_pending_config_and_ends_the_update(store, make_endpoint, later):
    endpoint = store.create_endpoint(make_endpoint())
    assert store.activate(endpoint.id, 1, later)
    active = store.endpoint("fraud")
    assert active.active == endpoint.pending
    assert active.pending is None
    assert active.update is ConfigUpdate.NOT_UPDATING
    assert active.updated_at == later


@pytest.mark.parametrize("end", ["activate", "fail"])
def test_only_the_config_that_is_being_deployed_can_end_an_update(store, make_endpoint, later, end):
    def ends(version: int) -> bool:
        if end == "activate":
            return bool(store.activate("id-fraud", version, later))
        return bool(store.fail("id-fraud", version, "no", later))

    store.create_endpoint(make_endpoint())
    before = store.endpoint("fraud")
    assert not ends(2)
    assert store.endpoint("fraud") == before
    store.fail("id-fraud", 1, "first", later)
    failed = store.endpoint("fraud")
    assert not ends(1)
    assert store.endpoint("fraud") == failed


def test_a_deleted_endpoint_is_not_activated(store, make_endpoint, later):
    store.create_endpoint(make_endpoint())
    store.delete_endpoint("fraud", later)
    assert not store.activate("id-fraud", 1, later)
    (deleted,) = store.endpoints(include_deleted=True)
    assert deleted.deleted
    assert deleted.active is None


def test_a_failed_update_keeps_what_serves_and_says_who_is_to_blame(
    store, make_endpoint, make_config, later
):
    endpoint = store.create_endpoint(make_endpoint())
    store.activate(endpoint.id, 1, later)
    store.put_config("fraud", make_config, later)
    broken = replace(
        make_config(2).entities[0], deployment=Deployment.FAILED, deployment_message="No such model"
    )
    assert store.save_entity(endpoint.id, 2, broken)
    assert store.fail(endpoint.id, 2, "fraud-2 failed", later)

    failed = store.endpoint("fraud")
    assert failed.update is ConfigUpdate.UPDATE_FAILED
    assert failed.active == endpoint.pending
    assert failed.pending is not None
    to_blame, innocent = failed.pending.entities
    assert (to_blame.deployment, to_blame.deployment_message) == (
        Deployment.FAILED,
        "No such model",
    )
    assert innocent.deployment is Deployment.ABORTED
    assert "fraud-2 failed" in innocent.deployment_message


def test_a_failed_version_is_never_given_out_again(store, make_endpoint, make_config, later):
    endpoint = store.create_endpoint(make_endpoint())
    store.fail(endpoint.id, 1, "no", later)
    again = store.put_config("fraud", make_config, later)
    assert again.pending is not None
    assert again.pending.version == 2
    assert again.update is ConfigUpdate.IN_PROGRESS
    # The first one stays readable, for its logs.
    first = store.config(endpoint.id, 1)
    assert first is not None
    assert {entity.deployment for entity in first.entities} == {Deployment.ABORTED}
    assert store.config(endpoint.id, 3) is None


def test_a_second_update_is_refused_while_one_is_in_progress(
    store, make_endpoint, make_config, later
):
    store.create_endpoint(make_endpoint())
    with pytest.raises(ResourceConflict, match=r"Endpoint fraud is currently updating\. Wait"):
        store.put_config("fraud", make_config, later)
    assert store.endpoint("fraud").pending.version == 1


def test_a_config_that_can_not_be_made_changes_nothing(store, make_endpoint, later):
    endpoint = store.create_endpoint(make_endpoint())
    store.activate(endpoint.id, 1, later)
    before = store.endpoint("fraud")

    def refuse(version: int) -> EndpointConfig:
        raise LookupError(version)

    with pytest.raises(LookupError, match="2"):
        store.put_config("fraud", refuse, later + timedelta(1))
    assert store.endpoint("fraud") == before


def test_a_weight_for_nobody_is_refused(store, make_endpoint, make_config):
    config = replace(make_config(), weights={"stranger": 10_000})
    with pytest.raises(ValueError, match="stranger"):
        store.create_endpoint(replace(make_endpoint(), pending=config))
    assert store.endpoints() == ()


def test_progress_of_one_entity_leaves_the_wish_and_the_others_alone(store, make_endpoint):
    endpoint = store.create_endpoint(make_endpoint())
    first, second = endpoint.pending.entities
    ready = replace(
        first,
        deployment=Deployment.READY,
        deployment_message="",
        model=None,
        replicas=60,
        form="onnx",
        form_reason="they agree",
    )
    assert store.save_entity(endpoint.id, 1, ready)
    assert store.endpoint("fraud").pending.entities == (
        replace(ready, replicas=first.replicas),
        second,
    )
    assert not store.save_entity(endpoint.id, 9, ready)
    assert not store.save_entity(endpoint.id, 1, replace(ready, name="stranger"))


def test_of_a_huge_build_log_the_end_is_kept(store, make_endpoint):
    endpoint = store.create_endpoint(make_endpoint())
    loud = replace(endpoint.pending.entities[0], build_log="x" * BUILD_LOG_LIMIT + "the reason")
    store.save_entity(endpoint.id, 1, loud)
    kept = store.endpoint("fraud").pending.entities[0].build_log
    assert len(kept) == BUILD_LOG_LIMIT
    assert kept.endswith("the reason")


def test_fields_change_only_when_they_are_given(store, make_endpoint, later):
    store.create_endpoint(make_endpoint())
    changed = store.set_fields("fraud", at=later, description="")
    assert (changed.description, changed.tags, changed.default) == ("", {"team": "risk"}, False)
    changed = store.set_fields("fraud", at=later, tags={})
    assert changed.tags == {}


def test_one_endpoint_at_most_is_the_default(store, make_endpoint, later):
    store.create_endpoint(replace(make_endpoint("a"), default=True))
    store.create_endpoint(make_endpoint("b"))
    store.set_fields("b", at=later, default=True)
    assert [each.name for each in store.endpoints() if each.default] == ["b"]
    store.create_endpoint(replace(make_endpoint("c"), default=True))
    assert [each.name for each in store.endpoints() if each.default] == ["c"]
    store.delete_endpoint("c", later)
    assert not any(each.default for each in store.endpoints(include_deleted=True))


def test_purge_forgets_deleted_endpoints_only(store, make_endpoint, later):
    store.create_endpoint(make_endpoint())
    store.purge("id-fraud")
    assert store.endpoint("fraud").id == "id-fraud"
    store.delete_endpoint("fraud", later)
    store.purge("id-fraud")
    assert store.endpoints(include_deleted=True) == ()
    assert store.config("id-fraud", 1) is None


def test_endpoints_come_by_name_and_none_of_an_empty_config(store, make_endpoint, at):
    for name in ("b", "a", "c"):
        empty = EndpointConfig(1, (), {}, at)
        store.create_endpoint(replace(make_endpoint(name), pending=empty))
    assert [each.name for each in store.endpoints()] == ["a", "b", "c"]
    assert store.endpoint("a").pending == EndpointConfig(1, (), {}, at)


def test_a_stopped_endpoint_keeps_its_config_and_starts_as_a_new_version(
    store, make_endpoint, make_config, at, later
):
    endpoint = store.create_endpoint(make_endpoint())
    with pytest.raises(ResourceConflict, match="currently updating"):
        store.stop_endpoint("fraud", later)
    store.activate(endpoint.id, 1, at)
    entry = JournalEntry("ann", "endpoint_stopped", later, endpoint.id)
    stopped = store.stop_endpoint("fraud", later, journal=[entry])
    assert stopped.stopped
    assert {(each.deployment, each.deployment_message) for each in stopped.active.entities} == {
        (Deployment.RECOVERING, "Stopped.")
    }
    assert store.stop_endpoint("fraud", later, journal=[entry]) == stopped
    assert [each.kind for each in store.journal(endpoint.id)] == ["endpoint_stopped"]
    with pytest.raises(InvalidState, match=r"'fraud' is stopped\. Start it first"):
        store.put_config("fraud", make_config, later)
    assert store.endpoint("fraud").pending is None

    started = store.start_endpoint("fraud", later)
    assert (started.stopped, started.update) == (False, ConfigUpdate.IN_PROGRESS)
    assert started.pending is not None
    assert (started.pending.version, started.pending.created_at) == (2, later)
    assert started.pending.weights == stopped.active.weights
    # The same bytes, wherever a name may lead by now; whether there is room for them is seen anew.
    assert [each.model for each in started.pending.entities] == [
        each.model for each in stopped.active.entities
    ]
    assert {each.environment for each in started.pending.entities} == {None}
    assert {each.deployment for each in started.pending.entities} == {Deployment.CREATING}
    assert store.start_endpoint("fraud", later) == started
    assert [each.version for each in store.history(endpoint.id)] == [2, 1]


def test_what_never_served_can_not_be_stopped(store, make_endpoint, later):
    endpoint = store.create_endpoint(make_endpoint())
    store.fail(endpoint.id, 1, "no", later)
    with pytest.raises(InvalidState, match="serves nothing"):
        store.stop_endpoint("fraud", later)


def test_history_is_read_in_pages_the_newest_first(store, make_endpoint, make_config, at):
    endpoint = store.create_endpoint(make_endpoint())
    for version in (1, 2, 3):
        store.activate(endpoint.id, version, at)
        store.put_config("fraud", make_config, at)
    first = store.history(endpoint.id, limit=3)
    assert [each.version for each in first] == [4, 3, 2]
    assert [each.version for each in store.history(endpoint.id, before=2)] == [1]
    assert store.history(endpoint.id, before=1) == ()
    assert first[0] == store.config(endpoint.id, 4)


def test_tags_are_changed_and_what_is_echoed_is_kept(store, make_endpoint, later):
    endpoint = store.create_endpoint(make_endpoint())
    entry = JournalEntry("ann", "tags_changed", later, endpoint.id)
    tagged = None
    for _ in range(2):
        tagged = store.change_tags("fraud", lambda tags: {**tags, "a": "1"}, later, journal=[entry])
    assert tagged is not None
    assert tagged.tags == {"team": "risk", "a": "1"}
    assert len(store.journal(endpoint.id)) == 1
    echoed = store.set_fields("fraud", at=later, echo={"ai_gateway": {"x": [1, None]}})
    assert echoed.echo == {"ai_gateway": {"x": [1, None]}}
    assert store.endpoint("fraud") == echoed
    more = store.set_echo("fraud", "email", ["a"], later, journal=[entry])
    assert more.echo == {"ai_gateway": {"x": [1, None]}, "email": ["a"]}
    assert store.endpoint("fraud") == more
    assert len(store.journal(endpoint.id)) == 2
