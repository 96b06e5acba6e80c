import json
from collections.abc import Callable

import httpx
import pytest

from serinus import errors
from serinus.client import Client, ServerUnreachable, UpdateFailed, UpdateUnfinished

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler) -> Client:
    return Client("http://serinus.test", transport=httpx.MockTransport(handler), patience_s=0)


def answering(*answers: httpx.Response) -> tuple[Handler, list[httpx.Request]]:
    """A handler that gives these answers in turn and remembers the requests."""
    requests: list[httpx.Request] = []
    left = list(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    return handler, requests


def every_error() -> list[type[errors.SerinusError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [each for each in found if each is not errors.SerinusError]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_server_comes_back_as_its_class(kind: type[errors.SerinusError]) -> None:
    body = {"error_code": kind.code, "message": "this went wrong", "details": [{"row": 3}]}
    handler, _ = answering(httpx.Response(kind.status, json=body, headers={"retry-after": "7"}))
    with client_of(handler) as client, pytest.raises(errors.SerinusError) as caught:
        client.endpoint("m")
    assert type(caught.value) is kind
    assert caught.value.message == "this went wrong"
    assert caught.value.retry_after == 7
    assert caught.value.details == [{"row": 3}]


def test_an_unknown_code_is_judged_by_its_status_and_an_unknown_status_by_neither() -> None:
    handler, _ = answering(
        httpx.Response(404, json={"error_code": "LOST", "message": "gone"}),
        httpx.Response(418, text="<html>teapot</html>"),
    )
    with client_of(handler) as client:
        with pytest.raises(errors.ResourceDoesNotExist, match="gone"):
            client.endpoint("m")
        with pytest.raises(errors.SerinusError, match="answered 418"):
            client.endpoint("m")


def test_no_server_names_the_url_and_the_command() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    said = r"http://serinus\.test.*serinus serve"
    with client_of(refuse) as client, pytest.raises(ServerUnreachable, match=said):
        client.endpoints()


@pytest.mark.parametrize("url", ["no-scheme", "http://[", "ftp://x", ""])
def test_a_url_that_is_none_is_said_plainly(url: str) -> None:
    with pytest.raises(ServerUnreachable), Client(url) as client:
        client.endpoints()


def test_something_else_than_serinus_is_noticed() -> None:
    handler, _ = answering(httpx.Response(200, text="<html>hello</html>"))
    with client_of(handler) as client, pytest.raises(errors.InternalError, match="Serinus"):
        client.endpoints()


def test_a_late_answer_is_a_deadline_not_an_absent_server() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    with client_of(slow) as client, pytest.raises(errors.DeadlineExceeded):
        client.query("m", {"inputs": []})


def test_paths_bodies_and_the_token() -> None:
    handler, requests = answering(httpx.Response(200, json={"name": "m", "logs": "line"}))
    with Client("http://s/", token="t", transport=httpx.MockTransport(handler)) as client:
        client.create("m", {"served_entities": []}, tags={"team": "a"}, description="d")
        client.update_config("a/b", {"served_entities": []})
        client.delete("m")
        assert client.logs("m", "m-1") == "line"
        assert client.build_logs("m", "m-1") == "line"
        client.query("m", b'{"inputs": [1e999]}', served="m 1")
    assert [(each.method, each.url.raw_path.decode()) for each in requests] == [
        ("POST", "/api/2.0/serving-endpoints"),
        ("PUT", "/api/2.0/serving-endpoints/a%2Fb/config"),
        ("DELETE", "/api/2.0/serving-endpoints/m"),
        ("GET", "/api/2.0/serving-endpoints/m/served-models/m-1/logs"),
        ("GET", "/api/2.0/serving-endpoints/m/served-models/m-1/build-logs"),
        ("POST", "/serving-endpoints/m/served-models/m%201/invocations"),
    ]
    assert json.loads(requests[0].content) == {
        "name": "m",
        "config": {"served_entities": []},
        "tags": [{"key": "team", "value": "a"}],
        "description": "d",
    }
    assert requests[-1].content == b'{"inputs": [1e999]}'
    assert requests[-1].headers["content-type"] == "application/json"
    assert {each.headers["authorization"] for each in requests} == {"Bearer t"}


def test_query_gives_the_predictions_and_who_answered() -> None:
    handler, _ = answering(
        httpx.Response(200, json={"predictions": [1]}, headers={"served-model-name": "m-1"})
    )
    with client_of(handler) as client:
        answer, headers = client.query("m", {"inputs": [[1]]})
    assert answer == {"predictions": [1]}
    assert headers["served-model-name"] == "m-1"


def endpoint_in(state: str, message: str = "") -> httpx.Response:
    deployment = "DEPLOYMENT_FAILED" if state == "UPDATE_FAILED" else "DEPLOYMENT_CREATING"
    entity = {
        "name": "m-1",
        "state": {"deployment": deployment, "deployment_state_message": message},
    }
    return httpx.Response(
        200,
        json={
            "name": "m",
            "state": {"config_update": state},
            "pending_config": {"served_entities": [entity]},
        },
    )


def test_waiting_ends_with_the_update_and_shows_every_step() -> None:
    handler, _ = answering(
        endpoint_in("IN_PROGRESS"), endpoint_in("IN_PROGRESS"), endpoint_in("NOT_UPDATING")
    )
    seen: list[str] = []
    with client_of(handler) as client:
        found = client.wait_until_updated(
            "m", poll_s=0.0, on_progress=lambda each: seen.append(each["state"]["config_update"])
        )
    assert found["state"]["config_update"] == "NOT_UPDATING"
    assert seen == ["IN_PROGRESS", "IN_PROGRESS", "NOT_UPDATING"]


def test_a_failed_update_says_which_entity_and_why() -> None:
    handler, _ = answering(endpoint_in("UPDATE_FAILED", "no module named lightgbm"))
    said = "m-1: no module named lightgbm"
    with client_of(handler) as client, pytest.raises(UpdateFailed, match=said) as failed:
        client.wait_until_updated("m")
    # It has never served: a second `create` would say that the name is taken.
    assert "serinus endpoints update m --model URI" in str(failed.value)
    failed_too = endpoint_in("UPDATE_FAILED", "no module named lightgbm").json()
    handler, _ = answering(httpx.Response(200, json={**failed_too, "config": {"a": 1}}))
    said = "^endpoint 'm' was not updated: m-1: no module named lightgbm$"
    with client_of(handler) as client, pytest.raises(UpdateFailed, match=said):
        client.wait_until_updated("m")


def test_waiting_is_given_up_after_its_time() -> None:
    handler, _ = answering(endpoint_in("IN_PROGRESS"))
    with client_of(handler) as client, pytest.raises(UpdateUnfinished, match="still updating"):
        client.wait_until_updated("m", timeout_s=0.0)


def test_a_controller_that_is_starting_again_is_waited_for_but_never_by_a_query() -> None:
    away = httpx.Response(503, json={"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"})
    handler, requests = answering(away, httpx.Response(200, json={"endpoints": []}))
    with Client("http://s", transport=httpx.MockTransport(handler), patience_s=30) as client:
        assert client.endpoints() == []
    assert len(requests) == 2
    handler, requests = answering(away)
    patient = Client("http://s", transport=httpx.MockTransport(handler), patience_s=30)
    with patient as client, pytest.raises(errors.TemporarilyUnavailable):
        client.query("m", {"inputs": []})
    assert len(requests) == 1


def test_the_calls_about_rollouts_go_where_they_should() -> None:
    handler, requests = answering(httpx.Response(200, json={"rollouts": [], "entries": []}))
    transport = httpx.MockTransport(handler)
    with Client("http://serinus.test", transport=transport, actor="ada") as client:
        client.start_rollout("a b", {"candidate": "models:/m/2"})
        client.rollouts("e", limit=3)
        client.rollout("e")
        client.ask("e", "abort", "r/1", reason="odd")
        client.journal("e", after=7, limit=2)
        client.evidence("e")
        client.undo("e", 3)
        client.policy("e")
        client.set_policy("e", {"direct_updates": "refuse"})
    prefix = "/api/serinus/v1/endpoints"
    assert [(each.method, each.url.raw_path.decode()) for each in requests] == [
        ("POST", f"{prefix}/a%20b/rollouts"),
        ("GET", f"{prefix}/e/rollouts?limit=3"),
        ("GET", f"{prefix}/e/rollouts/current"),
        ("POST", f"{prefix}/e/rollouts/r%2F1/abort"),
        ("GET", f"{prefix}/e/rollouts/current/journal?after=7&limit=2"),
        ("GET", f"{prefix}/e/rollouts/current/evidence"),
        ("POST", f"{prefix}/e/undo"),
        ("GET", f"{prefix}/e/policy"),
        ("PUT", f"{prefix}/e/policy"),
    ]
    assert {each.headers["x-serinus-actor"] for each in requests} == {"ada"}
    assert json.loads(requests[3].content) == {"reason": "odd"}
    assert json.loads(requests[6].content) == {"to": 3}


@pytest.mark.parametrize("actor", ["", "žofie", "a\nb"])
def test_a_name_that_no_header_can_carry_is_left_out(actor: str) -> None:
    handler, requests = answering(httpx.Response(200, json={}))
    transport = httpx.MockTransport(handler)
    with Client("http://serinus.test", transport=transport, actor=actor) as client:
        client.rollout("e")
    assert "x-serinus-actor" not in requests[0].headers


def test_what_must_not_be_done_twice_is_not_repeated() -> None:
    away = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "away"}
    calls: list[Callable[[Client], object]] = [
        lambda client: client.undo("e"),
        lambda client: client.ask("e", "promote", full=True),
    ]
    for call in calls:
        handler, requests = answering(httpx.Response(503, json=away), httpx.Response(200, json={}))
        transport = httpx.MockTransport(handler)
        with (
            Client("http://serinus.test", transport=transport, patience_s=60) as client,
            pytest.raises(errors.TemporarilyUnavailable),
        ):
            call(client)
        assert len(requests) == 1
