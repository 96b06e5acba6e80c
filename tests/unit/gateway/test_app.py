"""The gateway's HTTP side, called as ASGI: paths, limits, content types, headers, errors."""

import asyncio
from collections.abc import Iterable, MutableMapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from serinus.errors import DeadlineExceeded, ResourceExhausted, SerinusError
from serinus.evidence.meter import Meter
from serinus.gateway.app import App, AppConfig
from serinus.gateway.forward import Forwarder
from serinus.replica.protocol import Format, Frame, Kind

CONFIG = AppConfig(max_body=64, incarnation="abc", mlflow_version="3.17.2", workspace_id="1")


class FakePool:
    header = b"v1"


class FakeState:
    def __init__(self, ready: bool = True) -> None:
        self.ready = ready
        self.meter = Meter("e", "")


class FakePlane:
    """Knows one endpoint, ``e``; remembers what it was asked."""

    def __init__(self, outcome: Frame | SerinusError | Exception | None = None) -> None:
        self.outcome = outcome or Frame(Kind.RESPONSE, 1, b'{"predictions":[1]}', status=200)
        self.asked: list[tuple[str | None, bytes, Format]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.traces: list[bytes] = []
        self.default: FakeState | None = None

    def endpoint(self, name: str) -> FakeState:
        if name != "e":
            from serinus.errors import ResourceDoesNotExist

            raise ResourceDoesNotExist(f"Endpoint with name '{name}' does not exist.")
        return FakeState()

    async def invoke(
        self,
        _: object,
        served: str | None,
        body: bytes,
        format_: Format,
        headers: Any,
        request_id: bytes,
        trace: bytes,
    ) -> Any:
        self.headers = list(headers)
        assert request_id
        self.traces.append(trace)
        self.asked.append((served, body, format_))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return FakePool(), self.outcome


class Reply:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        start = messages[0]
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(message["body"] for message in messages[1:])

    @property
    def error(self) -> tuple[str, str]:
        answer = msgspec.json.decode(self.body)
        return answer["error_code"], answer["message"]


def call(
    plane: FakePlane,
    path: str = "/serving-endpoints/e/invocations",
    *,
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
    chunks: tuple[bytes, ...] = (b"{}",),
    forwarder: Forwarder | None = None,
) -> Reply:
    app = App(plane, forwarder or Forwarder("/nowhere/controller.sock"), CONFIG)  # type: ignore[arg-type]
    return asyncio.run(ask(app, path, method=method, headers=headers, chunks=chunks))


async def ask(
    app: App,
    path: str = "/serving-endpoints/e/invocations",
    *,
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
    chunks: tuple[bytes, ...] = (b"{}",),
) -> Reply:
    sent: list[dict[str, Any]] = []
    parts = [
        {"type": "http.request", "body": chunk, "more_body": number + 1 < len(chunks)}
        for number, chunk in enumerate(chunks)
    ]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "scheme": "http",
    }

    async def receive() -> dict[str, Any]:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return Reply(sent)


def test_an_answer_names_who_gave_it_and_the_request() -> None:
    plane = FakePlane()
    reply = call(plane, chunks=(b'{"instances"', b":[[1]]}"))
    assert (reply.status, reply.body) == (200, b'{"predictions":[1]}')
    assert reply.headers["served-model-name"] == "v1"
    assert reply.headers["x-request-id"] == "abc-1"
    assert reply.headers["content-type"] == "application/json"
    assert plane.asked == [(None, b'{"instances":[[1]]}', Format.JSON)]


def test_routes_that_change_while_a_body_arrives_are_followed() -> None:
    class Swapped(FakePlane):
        lookups = 0

        def endpoint(self, name: str) -> FakeState:
            self.lookups += 1
            return FakeState(ready=self.lookups > 1)

        async def invoke(self, state: Any, *request: Any) -> Any:
            assert state.ready, "the endpoint as it was before the body had arrived"
            return await super().invoke(state, *request)

    assert call(Swapped(), chunks=(b"{", b"}")).status == 200


def test_the_data_plane_sees_the_headers_in_which_a_unit_may_be() -> None:
    plane = FakePlane()
    headers = [(b"content-type", b"application/json"), (b"x-user-id", b"u1")]
    call(plane, headers=headers)
    assert plane.headers == headers


def test_a_pinned_path_pins() -> None:
    plane = FakePlane()
    call(plane, "/serving-endpoints/e/served-models/v2/invocations")
    assert plane.asked[0][0] == "v2"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/json", Format.JSON),
        (b"application/json; charset=utf-8", Format.JSON),
        (b'Application/JSON;charset="UTF-8"', Format.JSON),
        (b"", Format.JSON),
        (b"text/csv", Format.CSV),
        (b"application/vnd.apache.parquet", Format.PARQUET),
    ],
)
def test_content_types_that_are_read(content_type: bytes, expected: Format) -> None:
    plane = FakePlane()
    headers = [(b"content-type", content_type)] if content_type else []
    assert call(plane, headers=headers).status == 200
    assert plane.asked[0][2] is expected


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([(b"content-type", b"application/x-www-form-urlencoded")], "send application/json"),
        ([(b"content-type", b"application/json; charset=latin-1")], "UTF-8"),
        ([(b"content-encoding", b"br")], "content-encoding 'br'"),
        ([(b"content-encoding", b"gzip, gzip")], "one of gzip and zstd"),
    ],
)
def test_content_types_that_are_not(headers: list[tuple[bytes, bytes]], words: str) -> None:
    reply = call(FakePlane(), headers=headers)
    assert reply.status == 415
    assert reply.error[0] == "BAD_REQUEST"
    assert words in reply.error[1]


@pytest.mark.parametrize(
    ("headers", "chunks"),
    [
        ([(b"content-length", b"65")], (b"x" * 65,)),
        ([], (b"x" * 65,)),
        ([(b"transfer-encoding", b"chunked")], (b"x" * 40, b"x" * 25, b"x")),
    ],
)
def test_one_byte_over_the_limit_is_refused_and_the_connection_closed(
    headers: list[tuple[bytes, bytes]], chunks: tuple[bytes, ...]
) -> None:
    plane = FakePlane()
    reply = call(plane, headers=headers, chunks=chunks)
    assert reply.status == 413
    assert reply.error == (
        "INVALID_PARAMETER_VALUE",
        "The body is over the limit of 64 bytes; send fewer rows.",
    )
    assert reply.headers["connection"] == "close"
    assert plane.asked == []


def test_the_limit_itself_is_allowed() -> None:
    assert call(FakePlane(), chunks=(b"x" * 32, b"x" * 32)).status == 200


def test_an_empty_body_gets_a_sentence() -> None:
    assert call(FakePlane(), chunks=(b"",)).error[0] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/serving-endpoints/nope/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("/serving-endpoints/../e/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("/serving-endpoints/e/served-models/a/b/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("/serving-endpoints/e", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("/api/2.0/serving-endpoints", 503, "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_paths_that_lead_nowhere(path: str, status: int, code: str) -> None:
    reply = call(FakePlane(), path)
    assert (reply.status, reply.error[0]) == (status, code)


def test_only_post_predicts() -> None:
    assert call(FakePlane(), method="GET").status == 405


@pytest.mark.parametrize(
    ("outcome", "status", "retry_after"),
    [
        (ResourceExhausted("full", retry_after=1), 429, "1"),
        (DeadlineExceeded("late"), 504, None),
        (RuntimeError("a bug"), 500, None),
        (Frame(Kind.RESPONSE, 1, b'{"error_code":"BAD_REQUEST"}', status=400), 400, None),
    ],
)
def test_failures_keep_their_status(
    outcome: Frame | Exception, status: int, retry_after: str | None
) -> None:
    reply = call(FakePlane(outcome))
    assert reply.status == status
    assert reply.headers.get("retry-after") == retry_after
    assert reply.headers["x-request-id"] == "abc-1"
    assert b"a bug" not in reply.body


def test_a_caller_that_hangs_up_is_not_answered() -> None:
    app = App(FakePlane(), Forwarder("/nowhere"), CONFIG)  # type: ignore[arg-type]
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/serving-endpoints/e/invocations",
        "headers": [],
    }
    asyncio.run(app(scope, receive, send))
    assert sent == []


@pytest.mark.parametrize(
    ("default", "status"), [(None, 404), (FakeState(ready=False), 503), (FakeState(), 200)]
)
def test_ping_speaks_for_the_default_endpoint(default: FakeState | None, status: int) -> None:
    plane = FakePlane()
    plane.default = default
    assert call(plane, "/ping", method="GET").status == status
    assert call(plane, "/health", method="GET").status == 200
    assert call(plane, "/version", method="GET").body == b"3.17.2"


def test_mlflows_own_path_answers_for_the_default_endpoint() -> None:
    plane = FakePlane()
    plane.default = FakeState()
    assert call(plane, "/invocations").status == 200


def test_the_well_known_answer_needs_no_controller() -> None:
    reply = call(
        FakePlane(),
        "/.well-known/databricks-config",
        method="GET",
        headers=[(b"host", b"127.0.0.1:8080")],
    )
    assert msgspec.json.decode(reply.body)["oidc_endpoint"] == "http://127.0.0.1:8080/oidc"


def test_more_than_a_gateway_may_work_on_are_told_when_to_come_again() -> None:
    """Those who are there are answered, and so is whoever comes when one of them has gone."""

    class Busy(FakePlane):
        def __init__(self) -> None:
            super().__init__()
            self.go_on = asyncio.Event()
            self.state = FakeState()

        def endpoint(self, name: str) -> FakeState:
            return self.state

        async def invoke(self, *asked: Any) -> Any:
            await self.go_on.wait()
            return await super().invoke(*asked)

    async def crowd() -> tuple[list[Reply], Reply]:
        plane = Busy()
        config = replace(CONFIG, max_in_flight=2)
        app = App(plane, Forwarder("/nowhere/controller.sock"), config)  # type: ignore[arg-type]
        asking = [asyncio.create_task(ask(app)) for _ in range(5)]
        while sum(each.done() for each in asking) < 3:
            await asyncio.sleep(0)
        assert plane.state.meter.statuses == {503: 3}
        assert app.room.inside == 2
        plane.go_on.set()
        replies = [await each for each in asking]
        assert app.room.inside == 0
        return replies, await ask(app)

    replies, after = asyncio.run(crowd())
    assert [each.status for each in replies] == [200, 200, 503, 503, 503]
    assert replies[2].headers["retry-after"] == "1"
    assert "connection" not in replies[2].headers
    assert replies[2].error == (
        "TEMPORARILY_UNAVAILABLE",
        "This gateway works on 2 predictions already, which is its limit; try again in a moment.",
    )
    assert after.status == 200
