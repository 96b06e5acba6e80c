"""Tokens, rights and the record of changes, on both databases."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from serinus.access import Right
from serinus.entities import RateLimit
from serinus.errors import ResourceAlreadyExists, ResourceDoesNotExist
from serinus.store.acts import NOTHING, Act, acting
from serinus.store.repository import Store
from serinus.store.tokens import Token

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Token("a1", "ann", "d" * 64, AT, "root", rights={"fraud": Right.QUERY, "*": Right.VIEW})
ROOT = Token("r1", "root", "e" * 64, AT, "me", admin=True, expires_at=AT + timedelta(days=1))


@pytest.fixture
def store(store_url: str):
    with closing(Store.open(store_url)) as store:
        yield store


def act(action: str = "PUT /x", on: str = "fraud") -> Act:
    return Act("ann", action, AT, on, "a1")


def test_a_token_is_kept_by_its_digest_and_its_rights(store: Store) -> None:
    store.tokens.create(ANN)
    store.tokens.create(ROOT)
    assert store.tokens.all() == (ANN, ROOT)
    ann, root = store.tokens.grants()
    assert (ann.name, ann.digest, ann.admin, ann.expires_at) == ("ann", "d" * 64, False, None)
    assert ann.rights == {"fraud": Right.QUERY, "*": Right.VIEW}
    assert root.admin
    assert root.expires_at == (AT + timedelta(days=1)).timestamp()
    assert store.tokens.grants() is store.tokens.grants()


def test_a_name_is_taken_until_its_token_is_revoked_and_then_starts_anew(store: Store) -> None:
    store.tokens.create(ANN)
    with pytest.raises(ResourceAlreadyExists, match="revoke ann"):
        store.tokens.create(replace(ANN, id="a2"))
    store.tokens.revoke("ann", AT)
    assert store.tokens.grants() == ()
    with pytest.raises(ResourceDoesNotExist, match="token list"):
        store.tokens.revoke("ann", AT)
    store.tokens.create(replace(ANN, id="a2", rights={}))
    assert store.tokens.grants()[0].rights == {}


def test_rights_are_set_by_endpoint(store: Store) -> None:
    store.tokens.create(ANN)
    store.tokens.create(ROOT)
    store.tokens.set_rights("fraud", {"root": Right.VIEW}, replace=False)
    store.tokens.set_rights("fraud", {"ann": Right.MANAGE}, replace=False)
    rights = {grant.name: grant.right("fraud") for grant in store.tokens.grants()}
    assert rights == {"ann": Right.MANAGE, "root": Right.MANAGE}
    store.tokens.set_rights("fraud", {"root": Right.VIEW}, replace=True)
    ann, root = store.tokens.grants()
    assert ann.rights == {"*": Right.VIEW}  # what is for all endpoints is not this one's
    assert root.rights == {"fraud": Right.VIEW}
    with pytest.raises(ResourceDoesNotExist, match="nobody"):
        store.tokens.set_rights("fraud", {"ann": Right.VIEW, "nobody": Right.VIEW}, replace=True)
    assert store.tokens.grants() == (ann, root)


def test_rights_end_with_their_endpoint(store: Store, make_endpoint) -> None:
    store.create_endpoint(make_endpoint())
    store.tokens.create(ANN)
    store.delete_endpoint("fraud", AT)
    assert store.tokens.grants()[0].rights == {"*": Right.VIEW}


def test_a_use_is_kept_and_is_no_change(store: Store) -> None:
    store.tokens.create(ANN)
    before = store.tokens.grants()
    store.tokens.note_uses({"a1": AT.timestamp() + 5, "gone": 1.0})
    store.tokens.note_uses({"a1": AT.timestamp()})  # another gateway's, and older
    assert store.tokens.all()[0].used_at == AT + timedelta(seconds=5)
    assert store.tokens.grants() is before


def test_tokens_in_force_travel_with_the_routes(store: Store, store_url: str) -> None:
    store.tokens.create(ANN)
    epoch = store.take_epoch()
    grants = store.tokens.grants()
    assert store.publish((), grants, epoch=epoch).generation == 1
    assert store.publish((), grants, epoch=epoch).generation == 1
    with closing(Store.open(store_url)) as again:
        assert again.routes().grants == grants
        assert again.publish((), (), epoch=epoch).generation == 2


def test_rate_limits_are_kept(store: Store, make_endpoint) -> None:
    store.create_endpoint(make_endpoint())
    limits = (RateLimit(5, "user", "ann"), RateLimit(0))
    assert store.set_fields("fraud", at=AT, rate_limits=limits).rate_limits == limits
    assert store.set_fields("fraud", at=AT, description="x").rate_limits == limits
    assert store.set_fields("fraud", at=AT, rate_limits=()).rate_limits == ()


def test_a_change_is_recorded_with_what_is_different(store: Store, make_endpoint) -> None:
    with acting(act("POST /e")):
        store.create_endpoint(make_endpoint())
    with acting(act()):
        store.set_fields("fraud", at=AT, description="new", tags={"team": "b"})
        store.endpoint("fraud")  # to look is no change
    store.set_fields("fraud", at=AT, description="by the controller")
    changed, created = store.audit.entries()
    assert (changed.actor, changed.token_id, changed.action) == ("ann", "a1", "PUT /x")
    assert changed.at == AT
    assert changed.before.keys() == {"description", "tags"}
    assert changed.after == {"description": "new", "tags": {"team": "b"}}
    assert created.before == {}
    assert created.after["pending"]["version"] == 1
    assert store.audit.entries(endpoint="other") == ()
    assert store.audit.entries(before=changed.id) == (created,)


def test_a_secret_is_never_recorded(store: Store, make_endpoint) -> None:
    with acting(act()):
        made = store.create_endpoint(make_endpoint())
    [entry] = store.audit.entries()
    assert made.pending is not None
    values = [v for e in made.pending.entities for v in e.environment_vars.values()]
    assert values
    assert not any(value in str(entry.after) for value in values)
    with acting(act(on="")):
        store.tokens.create(ANN)
    assert ANN.digest not in str(store.audit.entries()[0].after)
    assert store.audit.entries()[0].after["ann"]["rights"]["fraud"] == "CAN_QUERY"


def test_what_did_not_happen_is_not_recorded(store: Store) -> None:
    store.tokens.create(ANN)
    with acting(act(on="")), pytest.raises(ResourceAlreadyExists):
        store.tokens.create(replace(ANN, id="a2"))
    assert store.audit.entries() == ()


TAMPERING = {
    "changed": "UPDATE audit SET actor = 'bob' WHERE id = 2",
    "its object": "UPDATE audit SET object = 'other' WHERE id = 2",
    "what it was before": "UPDATE audit SET before = '{}' WHERE id = 2",
    "taken away": "DELETE FROM audit WHERE id = 2",
    "the first taken away": "DELETE FROM audit WHERE id = 1",
}


def test_the_chain_is_whole_from_nothing_to_its_head(store: Store, make_endpoint) -> None:
    checked = store.audit.verify()
    assert (checked.entries, checked.head, checked.broken_at) == (0, NOTHING, None)
    store.create_endpoint(make_endpoint())
    for text_ in ("one", "two", "naïve \N{SNOWMAN} \U0001f426"):
        with acting(act()):
            store.set_fields("fraud", at=AT, description=text_)
    checked = store.audit.verify()
    assert (checked.entries, checked.broken_at) == (3, None)
    assert checked.head == store.audit.entries()[0].hash


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_breaks_the_chain(store_url: str, store: Store, make_endpoint, how: str) -> None:
    store.create_endpoint(make_endpoint())
    for text_ in ("one", "two", "three"):
        with acting(act()):
            store.set_fields("fraud", at=AT, description=text_)
    engine = create_engine(store_url)
    with engine.begin() as connection:
        assert connection.execute(text(TAMPERING[how])).rowcount == 1
    engine.dispose()
    assert store.audit.verify().broken_at in (1, 2, 3)
