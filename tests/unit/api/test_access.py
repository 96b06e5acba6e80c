"""Who may call what of the control API: every route with nothing and with too little, tokens,
permissions, the record of changes.
"""

import asyncio
import json
from contextlib import closing
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serinus.access import EVERY, Right, digest_of
from serinus.api.app import create_app
from serinus.api.rights import _NEEDS, BY_ID, calls, need_of, undeclared
from serinus.store.repository import Store
from serinus.store.tokens import Token
from tests.unit.api.shaped import check_shape

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE = "/api/2.0/serving-endpoints/fraud"
PERMISSIONS = "/api/2.0/permissions/serving-endpoints"
TOKENS = "/api/serinus/v1/tokens"


class Api:
    """The app, asked as a gateway asks it."""

    def __init__(self, store: Store, *, required: bool = True) -> None:
        ids = count(1)
        self.store = store
        self.at = AT
        self.acknowledged = 0
        self.app = create_app(
            store,
            wake=self._publish,
            replica_logs=lambda *_: "",
            clock=lambda: self.at,
            new_id=lambda: f"{next(ids):032x}",
            workspace_id="1",
            required=required,
            acknowledged=lambda: self.acknowledged,
        )
        self.epoch = store.take_epoch()

    def _publish(self) -> None:
        """As the controller does it in its next turn, which is nobody's act."""
        Context().run(self._turn)

    def _turn(self) -> None:
        table = self.store.publish((), self.store.tokens.grants(), epoch=self.epoch)
        self.acknowledged = table.generation

    def token(self, name: str, rights: dict[str, Right] | None = None, **more: Any) -> None:
        """A token whose id is its name."""
        token = Token(name, name, digest_of(name), AT, "test", rights=rights or {}, **more)
        self.store.tokens.create(token)

    def __call__(
        self, method: str, path: str, caller: str | None, body: Any = None, actor: str = ""
    ) -> httpx.Response:
        """``caller``: what a gateway says, the name of a token, or None for nothing."""
        headers = {"content-type": "application/json"} if body is not None else {}
        if caller is not None:
            kind = caller if caller in ("open", "owner", "") else f"token {caller}"
            headers["x-serinus-caller"] = kind
        if actor:
            headers["x-serinus-actor"] = actor
        content = None if body is None else json.dumps(body)

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://me") as client:
                return await client.request(method, path, headers=headers, content=content)

        answer = asyncio.run(send())
        check_shape(self.app, answer)
        return answer

    def create(self, name: str = "fraud") -> str:
        """An endpoint; its id."""
        config = {"served_entities": [{"entity_name": "a.fraud", "entity_version": "1"}]}
        body = {"name": name, "config": config}
        reply = self("POST", "/api/2.0/serving-endpoints", "root", body)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])


@pytest.fixture
def api(tmp_path):
    with closing(Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")) as store:
        api = Api(store)
        api.token("root", admin=True)
        api.token("nothing")
        yield api


def every_call(app: FastAPI, endpoint_id: str) -> list[tuple[str, str, str]]:
    """(method, path template, path) of each registered route and method."""
    found = []
    for call in calls(app.routes):
        method, template = call.split(" ", 1)
        path = template.replace("{name}", "fraud").replace(f"{{{BY_ID}}}", endpoint_id)
        for parameter in ("served", "rollout_id", "token", "version"):
            path = path.replace(f"{{{parameter}}}", "1")
        assert "{" not in path, path
        found.append((method, template, path))
    assert len(found) > 50
    return found


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error_code"]


def test_every_route_declares_its_right_and_none_is_declared_in_vain(api: Api) -> None:
    assert undeclared(api.app.routes) == []
    assert set(_NEEDS) == {call for call in calls(api.app.routes) if not call.startswith("HEAD ")}


def test_a_route_that_declares_nothing_is_found() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/api/new", lambda: None, methods=["GET"])
    assert undeclared(app.routes) == ["GET /api/new"]
    app.mount("/aside", FastAPI())
    with pytest.raises(TypeError, match="rights"):
        undeclared(app.routes)


def test_every_route_refuses_who_has_no_token(api: Api) -> None:
    for method, template, path in every_call(api.app, api.create()):
        if template == "/.well-known/databricks-config":
            assert api(method, path, None).status_code == 200
            continue
        for caller in (None, "", "open", "unknown"):
            reply = api(method, path, caller)
            assert reply.status_code == 401, (method, path, caller)


def test_every_route_refuses_who_may_too_little(api: Api) -> None:
    endpoint_id = api.create()
    lesser = {Right.VIEW: {}, Right.QUERY: {"fraud": Right.VIEW}}
    lesser[Right.MANAGE] = {"fraud": Right.QUERY, "other": Right.MANAGE}
    for right, rights in lesser.items():
        api.token(f"below-{right.name}", rights)
    api.token("all-of-one", {"fraud": Right.MANAGE})
    asked = 0
    for method, template, path in every_call(api.app, endpoint_id):
        need = need_of(method, template)
        assert need is not None
        callers = ["nothing"] if need.right or need.admin else []
        if need.right and need.on != EVERY:
            callers.append(f"below-{need.right.name}")
        else:
            callers += ["all-of-one"] if need.right or need.admin else []
        for caller in callers:
            reply = api(method, path, caller)
            assert code(reply) == (403, "PERMISSION_DENIED"), (method, path, caller, reply.text)
            asked += 1
    assert asked > 80


def test_unknown_paths_and_methods_are_no_way_round(api: Api) -> None:
    for method, path in (("GET", "/api/none"), ("TRACE", ONE), ("POST", ONE), ("GET", "/")):
        assert api(method, path, None).status_code == 401
        assert api(method, path, "nothing").status_code in (404, 405)


def test_what_is_forbidden_looks_like_what_is_not_there(api: Api) -> None:
    endpoint_id = api.create()
    for here, nowhere in (
        (ONE, "/api/2.0/serving-endpoints/none"),
        (f"{PERMISSIONS}/{endpoint_id}", f"{PERMISSIONS}/{'0' * 32}"),
        (f"{ONE}/served-models/x/logs", "/api/2.0/serving-endpoints/none/served-models/x/logs"),
    ):
        one, other = api("GET", here, "nothing"), api("GET", nowhere, "nothing")
        assert one.status_code == other.status_code == 403
        texts = [
            reply.text.replace(f"'{name}'", "")
            for reply in (one, other)
            for name in ("fraud", "none", endpoint_id, "0" * 32)
            if f"'{name}'" in reply.text
        ]
        assert len(texts) == 2
        assert len(set(texts)) == 1


def test_everybody_sees_their_own_level_and_only_their_endpoints(api: Api) -> None:
    api.create()
    api.create("other")
    api.token("ann", {"fraud": Right.QUERY})
    levels = {"root": "CAN_MANAGE", "ann": "CAN_QUERY"}
    for name, level in levels.items():
        assert api("GET", ONE, name).json()["permission_level"] == level
    listed = api("GET", "/api/2.0/serving-endpoints", "ann").json()["endpoints"]
    assert [(each["name"], each["permission_level"]) for each in listed] == [("fraud", "CAN_QUERY")]
    assert api("GET", "/api/2.0/serving-endpoints", "nothing").json() == {"endpoints": []}
    assert len(api("GET", "/api/2.0/serving-endpoints", "root").json()["endpoints"]) == 2


def test_who_made_it_and_who_asked(api: Api) -> None:
    endpoint_id = api.create()
    api("PATCH", f"{ONE}/tags", "root", {"add_tags": [{"key": "a"}]}, actor="forged")
    assert api("GET", ONE, "root").json()["creator"] == "root"
    assert {entry.actor for entry in api.store.journal(endpoint_id)} == {"root"}
    me = api("GET", "/api/2.0/preview/scim/v2/Me", "root", actor="forged").json()
    assert me["userName"] == "root"
    assert me["groups"] == [{"display": "admins", "value": "admins"}]


def test_a_token_is_shown_once_and_only_its_digest_is_kept(api: Api) -> None:
    body = {"name": "ci", "can": ["query:fraud", "view:*"], "expires_in_s": 3600}
    made = api("POST", TOKENS, "root", body)
    assert made.status_code == 200, made.text
    assert made.headers["cache-control"] == "no-store"
    token = made.json()["token"]
    assert made.json()["in_force"]
    assert made.json()["expires_at"] == "2026-03-01T13:00:00Z"
    listed = api("GET", TOKENS, "root").text
    assert token not in listed
    [ci] = [each for each in api.store.tokens.all() if each.name == "ci"]
    assert ci.digest == digest_of(token)
    assert ci.created_by == "root"
    assert api("GET", "/api/2.0/preview/scim/v2/Me", ci.id).status_code == 200
    api.at += timedelta(hours=1)
    assert api("GET", "/api/2.0/preview/scim/v2/Me", ci.id).status_code == 401


def test_revoking_waits_for_the_gateways(api: Api) -> None:
    api.token("ann")
    assert api("DELETE", f"{TOKENS}/ann", "root").json() == {"name": "ann", "in_force": True}
    assert "ann" not in [grant.name for grant in api.store.routes().grants]
    assert api("GET", "/api/2.0/serving-endpoints", "ann").status_code == 401
    assert code(api("DELETE", f"{TOKENS}/ann", "root")) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x", "can": ["read:e"]}, "view:ENDPOINT"),
        ({"name": "x", "can": ["query"]}, "'query' is no right"),
        ({"name": "x", "can": ["query:../e"]}, "no right"),
        ({"name": "a b", "admin": True}, "no name"),
        ({"name": "", "admin": True}, "no name"),
        ({"name": "x"}, "could do nothing"),
        ({"name": "x", "cna": ["query:e"]}, "did you mean 'can'"),
        ({"name": "x", "admin": True, "expires_in_s": 0}, "expires_in_s"),
    ],
)
def test_a_bad_token_is_refused_with_words_that_help(api: Api, body: Any, words: str) -> None:
    reply = api("POST", TOKENS, "root", body)
    assert code(reply) == (400, "INVALID_PARAMETER_VALUE")
    assert words in reply.json()["message"]


def test_permissions_of_an_endpoint(api: Api) -> None:
    path = f"{PERMISSIONS}/{api.create()}"
    api.token("ann", {"*": Right.VIEW})
    api.token("bob")

    def shown() -> dict[str, list[tuple[str, bool]]]:
        reply = api("GET", path, "root").json()
        assert reply["object_type"] == "serving-endpoint"
        return {
            entry.get("user_name") or entry["group_name"]: [
                (each["permission_level"], each["inherited"]) for each in entry["all_permissions"]
            ]
            for entry in reply["access_control_list"]
        }

    admins = [("CAN_MANAGE", True)]
    assert shown() == {"ann": [("CAN_VIEW", True)], "admins": admins}

    def lists(*names: tuple[str, str]) -> dict[str, Any]:
        entries = [{"user_name": name, "permission_level": level} for name, level in names]
        return {"access_control_list": entries}

    assert api("PATCH", path, "root", lists(("bob", "CAN_MANAGE"))).status_code == 200
    assert api("PATCH", path, "bob", lists(("ann", "CAN_QUERY"))).status_code == 200
    assert shown()["ann"] == [("CAN_QUERY", False), ("CAN_VIEW", True)]
    assert shown()["bob"] == [("CAN_MANAGE", False)]
    assert api("PUT", path, "root", lists(("ann", "CAN_VIEW"))).status_code == 200
    assert "bob" not in shown()
    assert api("GET", path, "bob").status_code == 403
    nobody = api("PATCH", path, "root", lists(("nobody", "CAN_VIEW")))
    assert code(nobody) == (404, "RESOURCE_DOES_NOT_EXIST")
    group = {"access_control_list": [{"group_name": "users", "permission_level": "CAN_VIEW"}]}
    assert code(api("PUT", path, "root", group)) == (400, "INVALID_PARAMETER_VALUE")
    levels = api("GET", f"{path}/permissionLevels", "root").json()["permission_levels"]
    assert [each["permission_level"] for each in levels] == ["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


def test_every_change_is_recorded_with_who_and_what(api: Api) -> None:
    path = f"{PERMISSIONS}/{api.create()}"
    api.token("ann")
    limits = {"rate_limits": [{"calls": 5, "renewal_period": "minute"}]}
    grant = {"access_control_list": [{"user_name": "ann", "permission_level": "CAN_VIEW"}]}
    for method, where, body in (
        ("PUT", f"{ONE}/rate-limits", limits),
        ("PATCH", path, grant),
        ("PUT", "/api/serinus/v1/endpoints/fraud/policy", {"verification": "off"}),
        ("DELETE", f"{TOKENS}/ann", None),
        ("DELETE", ONE, None),
    ):
        reply = api(method, where, "root", body)
        assert reply.status_code == 200, (where, reply.text)
    before = len(api.store.audit.entries())
    api("PUT", f"{ONE}/rate-limits", "nothing", limits)  # refused: nothing has changed
    api("GET", path, "root")
    found = api("GET", "/api/serinus/v1/audit", "root").json()["entries"]
    assert len(found) == before == 6
    assert {each["actor"] for each in found} == {"root"}
    said = {each["action"].split("/")[-1]: each for each in found}
    assert said["rate-limits"]["before"] == {"rate_limits": []}
    assert said["rate-limits"]["after"] == {"rate_limits": [[5, "endpoint", ""]]}
    assert said["{endpoint_id}"]["after"] == {"permissions": {"ann": "CAN_VIEW"}}
    assert said["{endpoint_id}"]["endpoint"] == "fraud"
    assert said["policy"]["after"]["policy"]["verification"] == "off"
    assert "ann" in said["{token}"]["before"]
    checked = api("GET", "/api/serinus/v1/audit/check", "root").json()
    assert checked["whole"]
    assert checked["entries"] == 6
    assert api("GET", "/api/serinus/v1/audit", "nothing").status_code == 403


def test_a_new_endpoint_is_recorded_by_its_name_and_what_it_is_to_serve(api: Api) -> None:
    served = {"entity_name": "m", "entity_version": "1", "environment_vars": {"KEY": "hidden"}}
    body = {"name": "new", "config": {"served_entities": [served]}}
    reply = api("POST", "/api/2.0/serving-endpoints", "root", body)
    assert reply.status_code == 200, reply.text
    [entry] = api("GET", "/api/serinus/v1/audit?endpoint=new", "root").json()["entries"]
    assert entry["action"] == "POST /api/2.0/serving-endpoints"
    assert list(entry["after"]["pending"]["served_entities"]) == ["m-1"]
    assert "hidden" not in json.dumps(entry)


def test_limits_are_echoed_where_clients_look(api: Api) -> None:
    api.create()
    limits = [{"calls": 5, "key": "user", "renewal_period": "minute", "principal": "ann"}]
    reply = api("PUT", f"{ONE}/ai-gateway", "root", {"rate_limits": limits})
    assert reply.json()["rate_limits"] == limits
    assert api("GET", ONE, "root").json()["ai_gateway"]["rate_limits"] == limits
    assert api("PUT", f"{ONE}/rate-limits", "root", {}).json() == {"rate_limits": []}
    assert "ai_gateway" not in api("GET", ONE, "root").json()


def test_the_owner_of_the_home_needs_no_token(api: Api) -> None:
    body = {"name": "first", "admin": True}
    made = api("POST", TOKENS, "owner", body, actor="ann")
    assert made.status_code == 200
    assert made.json()["created_by"] == "ann"


def test_on_an_open_server_nobody_makes_what_outlasts_it(tmp_path) -> None:
    with closing(Store.open(f"sqlite:///{tmp_path / 'open.db'}")) as store:
        api = Api(store, required=False)
        api.token("root", admin=True)
        api.token("low")
        path = f"{PERMISSIONS}/{api.create()}"
        grant = {"access_control_list": [{"user_name": "low", "permission_level": "CAN_MANAGE"}]}
        for caller in (None, "open", "low"):
            assert api("GET", ONE, caller).json()["permission_level"] == "CAN_MANAGE"
            for method, where, body in (
                ("POST", TOKENS, {"name": "x", "admin": True}),
                ("DELETE", f"{TOKENS}/root", None),
                ("PUT", path, grant),
            ):
                assert code(api(method, where, caller, body)) == (403, "PERMISSION_DENIED")
        assert api("PUT", path, "root", grant).status_code == 200
        assert api("POST", TOKENS, "owner", {"name": "x", "admin": True}).status_code == 200
