"""The paths of the Open Inference Protocol at the gateway, called as ASGI."""

import gzip

import msgspec
import pytest

from serinus.entities import ConfigUpdate
from serinus.errors import (
    BadRequest,
    MethodNotAllowed,
    ResourceDoesNotExist,
    ResourceExhausted,
    TemporarilyUnavailable,
)
from serinus.gateway.oip import Ask, Verb, as_tensors, parse
from serinus.gateway.prediction import compare, label
from serinus.replica.protocol import Format, Frame, Kind
from serinus.traffic import EndpointRoutes, RouteTable
from tests.unit.gateway.plane import Stage, run, served
from tests.unit.gateway.test_app import FakePlane, Reply, call

JSON = ((b"content-type", b"application/json"),)
ANSWER = b'{"outputs":[{"name":"o","datatype":"FP64","shape":[2],"data":[1.0,2.0]}]}'


def _ask(plane: FakePlane, path: str, method: str = "POST", **more: object) -> Reply:
    return call(plane, path, method=method, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "method", "ask"),
    [
        ("/v2", "GET", Ask(Verb.SERVER)),
        ("/v2/health/live", "GET", Ask(Verb.LIVE)),
        ("/v2/models/m", "GET", Ask(Verb.MODEL, "m")),
        ("/v2/models/m/ready", "GET", Ask(Verb.MODEL_READY, "m")),
        ("/v2/models/m/versions/v", "GET", Ask(Verb.MODEL, "m", "v")),
        ("/v2/models/m/versions/v/infer", "POST", Ask(Verb.INFER, "m", "v")),
        ("/v2/models/versions/infer", "POST", Ask(Verb.INFER, "versions")),
    ],
)
def test_paths(path: str, method: str, ask: Ask) -> None:
    assert parse(path, method) == ask


def test_an_answer_gets_the_names_that_the_replica_does_not_know() -> None:
    plane = FakePlane(Frame(Kind.RESPONSE, 1, ANSWER, status=200))
    packed = (*JSON, (b"content-encoding", b"gzip"))
    body = gzip.compress(b"{}")
    reply = _ask(plane, "/v2/models/e/versions/v/infer", headers=packed, chunks=(body,))
    found = msgspec.json.decode(reply.body)
    assert (found["model_name"], found["model_version"]) == ("e", "v1")
    assert found["outputs"] == msgspec.json.decode(ANSWER)["outputs"]
    assert reply.headers["served-model-name"] == "v1"
    assert plane.asked == [("v", b"{}", Format.OIP)]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v2/models/e/infer", "GET", 405),
        ("/v2/models/e/ready", "POST", 405),
        ("/v2/models/no/infer", "POST", 404),
        ("/v2/models/e/explain", "POST", 404),
        ("/v2/models", "GET", 404),
    ],
)
def test_refusals_have_the_form_of_the_protocol(path: str, method: str, status: int) -> None:
    reply = _ask(FakePlane(), path, method)
    assert reply.status == status
    assert list(msgspec.json.decode(reply.body)) == ["error"]


def test_errors_from_behind_have_it_too() -> None:
    full = _ask(FakePlane(ResourceExhausted("Full.", retry_after=1)), "/v2/models/e/infer")
    assert (full.status, full.body) == (429, b'{"error":"Full."}')
    assert full.headers["retry-after"] == "1"
    for body, shown in (
        (b'{"error":"x"}', b'{"error":"x"}'),
        (b'{"error_code":"BAD_REQUEST","message":"y"}', b'{"error":"y"}'),
        (b"nonsense", b'{"error":"nonsense"}'),
    ):
        plane = FakePlane(Frame(Kind.RESPONSE, 1, body, status=400))
        assert _ask(plane, "/v2/models/e/infer").body == shown


def test_tensors_behind_the_json_are_refused() -> None:
    plane = FakePlane()
    binary = (*JSON, (b"inference-header-content-length", b"2"))
    reply = _ask(plane, "/v2/models/e/infer", headers=binary)
    assert reply.status == 400
    assert b"binary_data=False" in reply.body
    assert plane.asked == []


def test_what_a_model_takes_is_asked_of_a_replica_and_counts_as_nobodys_request() -> None:
    def answer(frame: Frame) -> Frame:
        assert (frame.body, frame.format) == (b"", Format.OIP)
        return Frame(Kind.RESPONSE, frame.id, b'{"platform":"p","inputs":[]}', status=200)

    async def scenario(stage: Stage) -> None:
        from serinus.gateway import oip

        replica = await stage.replica("a", answer)
        await stage.route(1, served("v1", 10_000, replica), served("v0", 0))
        said = msgspec.json.decode(await oip.described(Ask(Verb.MODEL, "e"), stage.plane))
        assert said == {"name": "e", "versions": ["v0", "v1"], "platform": "p", "inputs": []}
        assert oip.static(Ask(Verb.MODEL_READY, "e", "v1"), stage.plane, "1") == b""
        with pytest.raises(Exception, match="not ready"):
            oip.static(Ask(Verb.MODEL_READY, "e", "v0"), stage.plane, "1")
        assert stage.plane.endpoint("e").pools["v1"].meter.in_flight == 0

    run(scenario)


def test_a_model_of_which_nothing_is_ready_yet_is_there_and_not_ready() -> None:
    async def scenario(stage: Stage) -> None:
        from serinus.gateway import oip

        unready = EndpointRoutes("e", (), unready=ConfigUpdate.IN_PROGRESS)
        await stage.plane.apply(RouteTable(1, (unready,)))
        for version in (None, "v1"):
            with pytest.raises(TemporarilyUnavailable, match="'e' is not ready"):
                oip.static(Ask(Verb.MODEL_READY, "e", version), stage.plane, "1")
            with pytest.raises(TemporarilyUnavailable, match="'e' is not ready"):
                await oip.described(Ask(Verb.MODEL, "e", version), stage.plane)
        with pytest.raises(ResourceDoesNotExist):
            oip.static(Ask(Verb.MODEL_READY, "nobody"), stage.plane, "1")

    run(scenario)


def test_answers_in_tensors_are_read_as_predictions() -> None:
    plain = b'{"predictions":[1.0,2.0]}'
    assert label(ANSWER) == label(plain)
    assert compare(plain, ANSWER, 0.0) == compare(plain, plain, 0.0)
    wide = b'{"outputs":[{"name":"o","datatype":"FP64","shape":[1,2],"data":[0.5,0.5]}]}'
    assert compare(b'{"predictions":[[0.5,0.5]]}', wide, 0.0) == compare(plain, plain, 0.0)
    assert compare(b'{"predictions":[[0.5,0.1]]}', wide, 0.0) != compare(plain, plain, 0.0)


def test_the_server_is_ready_once_it_has_routes() -> None:
    class Waiting(FakePlane):
        generation = -1

    assert _ask(Waiting(), "/v2/health/ready", "GET").status == 503
    Waiting.generation = 0
    assert _ask(Waiting(), "/v2/health/ready", "GET").status == 200
    assert _ask(Waiting(), "/v2/health/live", "GET").status == 200


def test_a_head_is_answered_where_a_get_is_and_nowhere_else() -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/e/ready", "/v2"):
        assert parse(path, "HEAD") == parse(path, "GET")
    with pytest.raises(MethodNotAllowed):
        parse("/v2/models/e/infer", "HEAD")


def test_only_json_holds_tensors_and_the_answer_says_which_was_wrong() -> None:
    assert as_tensors(Format.JSON, []) is Format.OIP
    with pytest.raises(BadRequest, match="content-type application/json"):
        as_tensors(Format.CSV, [])
    with pytest.raises(BadRequest, match="binary_data=False"):
        as_tensors(Format.JSON, [(b"inference-header-content-length", b"9")])
