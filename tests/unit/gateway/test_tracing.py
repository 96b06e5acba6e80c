"""Trace context on its way through a gateway: checked, passed on, and never in the way."""

import pytest

from serinus.errors import ResourceExhausted
from serinus.gateway.tracing import carried, trace_id_of
from serinus.replica.origin import Origin, marks, origin_of
from serinus.replica.protocol import SEPARATOR, Format, Frame, Kind
from tests.unit.gateway.plane import Stage, run, served
from tests.unit.gateway.test_app import FakePlane, call

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
JSON = (b"content-type", b"application/json")


def parent(value: bytes) -> list[tuple[bytes, bytes]]:
    return [JSON, (b"traceparent", value)]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        PARENT.upper(),
        PARENT + b"-more",
        PARENT[:-1],
        b"ff" + PARENT[2:],
        b"00-" + b"0" * 32 + PARENT[35:],
        PARENT[:36] + b"0" * 16 + PARENT[52:],
        PARENT.replace(b"-", b"_"),
        PARENT + b"\0caller",
    ],
)
def test_what_is_no_parent_is_left_out(value: bytes) -> None:
    assert carried(parent(value)) == b""
    assert trace_id_of(parent(value)) == ""


def test_a_parent_and_its_state_are_taken_as_they_are() -> None:
    assert carried(parent(PARENT)) == PARENT
    assert carried(parent(b" " + PARENT)) == PARENT
    assert trace_id_of(parent(PARENT)) == TRACE
    states = [(b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    assert carried(parent(PARENT) + states) == PARENT + SEPARATOR + b"a=1,b=2"
    for bad in (b"x" * 513, b"a=\xff", b"a=\0"):
        assert carried([*parent(PARENT), (b"tracestate", bad)]) == PARENT
    assert carried(states) == b""


def test_a_later_version_goes_on_as_the_known_one_and_two_parents_are_none() -> None:
    assert carried(parent(b"cc" + PARENT[2:] + b"-and-more")) == PARENT
    assert carried(parent(PARENT) + parent(PARENT)) == b""


def test_the_trace_goes_with_the_request_and_nothing_goes_without_one() -> None:
    plane = FakePlane()
    assert call(plane, headers=[*parent(PARENT), (b"tracestate", b"a=1")]).status == 200
    assert call(plane, headers=[JSON, (b"tracestate", b"a=1")]).status == 200
    assert call(plane, headers=parent(b"nonsense")).status == 200
    assert plane.traces == [PARENT + SEPARATOR + b"a=1", b"", b""]
    refused = FakePlane(ResourceExhausted("Too many."))
    assert call(refused, headers=parent(PARENT)).status == 429


def test_the_replica_is_told() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.route(1, served("m-1", 10_000, await stage.replica("m-1")))
        state = stage.plane.endpoint("e")
        trace = carried([*parent(PARENT), (b"tracestate", b"a=1")])
        headers = [(b"x-caller", b"web")]
        for each in (b"", trace):
            await stage.plane.invoke(state, None, b"{}", Format.JSON, headers, b"gw-1", each)
        plain, traced = [frame.meta for frame in stage.replicas[0].received]
        assert plain == b"web\0gw-1"
        assert origin_of(traced) == Origin(b"web", b"gw-1", PARENT, b"a=1")

    run(scenario)


def test_a_log_line_says_which_request_and_which_trace_it_is_about() -> None:
    def of(meta: bytes) -> dict[str, str]:
        return marks(Frame(Kind.REQUEST, 1, meta=meta))

    assert of(b"web\0gw-1\0" + PARENT + b"\0a=1") == {"request_id": "gw-1", "trace_id": TRACE}
    assert of(b"\0gw-1") == {"request_id": "gw-1"}
    assert of(b"") == {}
