"""A server that asks for tokens: the first one, clients, every route, revoking, limits, logs."""

import asyncio
import json
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import PermissionDenied, Unauthenticated
from databricks.sdk.service.serving import (
    ServingEndpointAccessControlRequest,
    ServingEndpointDetailedPermissionLevel,
    ServingEndpointPermissionLevel,
)

from serinus.api.app import create_app
from serinus.api.rights import BY_ID, calls, need_of
from tests.e2e.running import SERINUS, Running, eventually
from tests.models import saved

#: Method, path, whose token, the statuses to expect.
Asked = tuple[str, str, str | None, tuple[int, ...]]
ROWS = {"dataframe_split": {"columns": ["x", "y"], "data": [[1.5, 10.0]]}}


def serinus(home: Path, *arguments: str) -> str:
    """What the command prints; it finds the server by its home alone."""
    done = subprocess.run(
        [str(SERINUS), *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=home.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tokens() -> dict[str, str]:
    """By name."""
    return {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tokens: dict[str, str]) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("access") / "home"
    # Before the server has ever run, and without a token.
    tokens["root"] = serinus(home, "token", "create", "--name", "root", "--admin")
    server = Running(home, "--auth", "--gateways", "2")
    server.http.headers["authorization"] = f"Bearer {tokens['root']}"
    try:
        server.wait_until_up()
        server.create("delay", {"one": (saved("constant"), 100)})
        server.create("other", {"one": (saved("constant"), 100)})
        for name, can in (("app", "query:delay"), ("watch", "view:delay"), ("nobody", "view:none")):
            made = serinus(home, "token", "create", "--name", name, "--can", can)
            tokens[name] = made
        yield server
    finally:
        server.stop()


def ask(server: Running, token: str | None, path: str = "delay", **more: Any) -> httpx.Response:
    """One prediction on a connection of its own, so that any gateway may get it."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    url = f"{server.url}/serving-endpoints/{path}/invocations"
    return httpx.post(url, json=ROWS, headers=headers | more, timeout=30, trust_env=False)


def test_predictions_by_right(server: Running, tokens: dict[str, str]) -> None:
    assert ask(server, tokens["app"]).status_code == 200
    basic = b64encode(f"token:{tokens['app']}".encode()).decode()
    assert ask(server, None, authorization=f"Basic {basic}").status_code == 200
    missing = ask(server, None)
    assert missing.status_code == 401
    assert missing.json()["error_code"] == "UNAUTHENTICATED"
    assert missing.headers["www-authenticate"].startswith("Bearer")
    for name in ("watch", "nobody"):
        assert ask(server, tokens[name]).status_code == 403
    assert ask(server, tokens["app"], "other").status_code == 403
    assert ask(server, tokens["app"], "no-such").status_code == 403
    assert ask(server, tokens["root"], "no-such").status_code == 404
    assert ask(server, tokens["root"], host="evil.example").status_code == 403
    assert ask(server, tokens["root"], origin="http://evil.example").status_code == 403


def test_what_is_open_is_open(server: Running) -> None:
    for path in ("/health", "/.well-known/databricks-config"):
        assert httpx.get(server.url + path, trust_env=False).status_code == 200


def test_every_route_by_http(server: Running, tokens: dict[str, str]) -> None:
    app = create_app(
        None,  # type: ignore[arg-type]  # only its routes are looked at
        wake=lambda: None,
        replica_logs=lambda *_: "",
        clock=lambda: None,  # type: ignore[arg-type,return-value]
        new_id=str,
        workspace_id="1",
    )
    endpoint_id = server.get("delay")["id"]
    asked: list[Asked] = []
    for call in calls(app.routes):
        method, template = call.split(" ", 1)
        need = need_of(method, template)
        assert need is not None
        path = template.replace("{name}", "delay").replace(f"{{{BY_ID}}}", endpoint_id)
        for parameter in ("served", "rollout_id", "token", "version"):
            path = path.replace(f"{{{parameter}}}", "1")
        asked.append((method, path, None, () if need.open else (401,)))
        # Nobody may forge what a gateway says to the controller.
        asked.append((method, path, "forged", () if need.open else (401,)))
        if need.right or need.admin:
            asked.append((method, path, "nobody", (403,)))
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for path in ("/", "/metrics", "/version", "/invocations", "/v2/models/delay/infer", "/x"):
            asked.append((method, path, None, (401,)))
    assert len(asked) > 150
    wrong = asyncio.run(_answers(server, asked, tokens))
    assert wrong == []


async def _answers(server: Running, asked: list[Asked], tokens: dict[str, str]) -> list[object]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        wrong: list[object] = []
        for method, path, who, expected in asked:
            headers = {}
            if who == "forged":
                headers = {"x-serinus-caller": "owner", "x-serinus-actor": "root"}
            elif who is not None:
                headers = {"authorization": f"Bearer {tokens[who]}"}
            answer = await client.request(method, path, headers=headers)
            if expected and answer.status_code not in expected:
                wrong.append((method, path, who, answer.status_code))
    return wrong


def workspace(server: Running, token: str) -> WorkspaceClient:
    return WorkspaceClient(config=Config(host=server.url, token=token, retry_timeout_seconds=20))


def test_permissions_as_the_unmodified_sdk_speaks_of_them(
    server: Running, tokens: dict[str, str]
) -> None:
    root, app = workspace(server, tokens["root"]), workspace(server, tokens["app"])
    assert root.current_user.me().user_name == "root"
    endpoint = app.serving_endpoints.get("delay")
    assert endpoint.permission_level is ServingEndpointDetailedPermissionLevel.CAN_QUERY
    assert [each.name for each in app.serving_endpoints.list()] == ["delay"]
    with pytest.raises(PermissionDenied):
        app.serving_endpoints.delete("delay")
    with pytest.raises(Unauthenticated):
        workspace(server, "dapi-wrong").serving_endpoints.list()
    other_id = root.serving_endpoints.get("other").id
    assert other_id is not None
    wanted = ServingEndpointAccessControlRequest(
        user_name="app", permission_level=ServingEndpointPermissionLevel.CAN_QUERY
    )
    given = root.serving_endpoints.update_permissions(other_id, access_control_list=[wanted])
    levels = {
        each.user_name or each.group_name: [
            level.permission_level for level in each.all_permissions or []
        ]
        for each in given.access_control_list or []
    }
    assert levels == {
        "app": [ServingEndpointPermissionLevel.CAN_QUERY],
        "admins": [ServingEndpointPermissionLevel.CAN_MANAGE],
    }
    # It holds at every gateway by the time that the call is answered.
    assert {ask(server, tokens["app"], "other").status_code for _ in range(8)} == {200}
    root.serving_endpoints.set_permissions(other_id, access_control_list=[])
    assert {ask(server, tokens["app"], "other").status_code for _ in range(8)} == {403}
    assert root.serving_endpoints.get_permissions(other_id).object_type == "serving-endpoint"
    shown = root.serving_endpoints.get_permission_levels(other_id).permission_levels or []
    assert len(shown) == 3


def test_a_revoked_token_is_refused_by_every_gateway(
    server: Running, tokens: dict[str, str]
) -> None:
    leaver = serinus(server.home, "token", "create", "--name", "leaver", "--can", "query:*")
    tokens["leaver"] = leaver
    assert {ask(server, leaver).status_code for _ in range(8)} == {200}
    began = time.monotonic()
    revoked = json.loads(serinus(server.home, "token", "revoke", "leaver", "--output", "json"))
    assert revoked == {"name": "leaver", "in_force": True}
    assert {ask(server, leaver).status_code for _ in range(16)} == {401}
    assert time.monotonic() - began < 60  # the command's own start included
    listed = json.loads(serinus(server.home, "token", "list", "--output", "json"))["tokens"]
    assert {each["name"] for each in listed} == {"root", "app", "watch", "nobody"}


def test_a_rate_limit_by_user(server: Running, tokens: dict[str, str]) -> None:
    limit = {"calls": 4, "key": "user", "renewal_period": "minute"}
    path = "/api/2.0/serving-endpoints/delay/rate-limits"
    assert server.http.put(path, json={"rate_limits": [limit]}).status_code == 200

    def refused() -> httpx.Response | None:
        answer = ask(server, tokens["app"])
        return answer if answer.status_code == 429 else None

    answer = eventually(refused, what="the limit")
    assert answer.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert ask(server, tokens["root"]).status_code == 200
    shown = server.get("delay")["ai_gateway"]["rate_limits"]
    assert shown == [limit]
    assert server.http.put(path, json={"rate_limits": []}).status_code == 200
    eventually(lambda: ask(server, tokens["app"]).status_code == 200, what="the end of the limit")


def test_what_was_done_is_recorded(server: Running) -> None:
    entries = json.loads(
        serinus(server.home, "audit", "list", "--limit", "1000", "--output", "json")
    )["entries"]
    assert entries
    by_action = {each["action"]: each for each in entries}
    assert by_action["POST /api/2.0/serving-endpoints"]["actor"] == "root"
    assert "serinus token create" in by_action  # before the server ran
    assert json.loads(serinus(server.home, "audit", "verify", "--output", "json"))["whole"]


def test_when_a_token_was_used_is_known(server: Running, tokens: dict[str, str]) -> None:
    def used() -> bool:
        ask(server, tokens["app"])
        listed = server.http.get("/api/serinus/v1/tokens").json()["tokens"]
        return any(each["used_at"] for each in listed if each["name"] == "app")

    eventually(used, what="the use of the token")


def test_no_token_is_written_anywhere(server: Running, tokens: dict[str, str]) -> None:
    # A traceback shows what it was working on; a refusal must not.
    for path in ("/api/2.0/none", "/serving-endpoints/none/invocations"):
        server.http.get(path)
    written = [server.log, *(path for path in server.home.rglob("*") if path.is_file())]
    assert server.home / "routes.json" in written
    for file in written:
        content = file.read_bytes()
        for token in tokens.values():
            assert token[15:].encode() not in content, file
    for name in ("routes.json", "serinus.db"):
        assert (server.home / name).stat().st_mode & 0o077 == 0, name
