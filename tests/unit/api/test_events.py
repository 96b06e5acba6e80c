"""Server-sent events, heard through a server on a real port."""

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from serinus.api.events import Events
from serinus.store.journal import JournalEntry
from tests.unit.api.rolling import Rolling


def say(rolling: Rolling, kind: str) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    rolling.store.append([JournalEntry("me", kind, at, "id-of-e", {"text": "a\nb"})])


class Scope:
    """As much of a request as the handler looks at; its client leaves after some looks."""

    def __init__(self, looks: int, last: str = "") -> None:
        self.headers = {"last-event-id": last} if last else {}
        self.looks = looks

    async def is_disconnected(self) -> bool:
        self.looks -= 1
        return self.looks < 0


async def _heard(events: Events, scope: Any) -> list[str]:
    stream = await events.listen("e", scope)
    return [bytes(part).decode() async for part in stream.body_iterator]  # type: ignore[arg-type]


def heard(events: Events, scope: Scope) -> list[str]:
    import asyncio

    return asyncio.run(_heard(events, scope))


def parsed(part: str) -> tuple[str, int, dict[str, Any]]:
    kind, id_, data = part.strip().split("\n")
    return (
        kind.removeprefix("event: "),
        int(id_.removeprefix("id: ")),
        json.loads(data.removeprefix("data: ")),
    )


def test_only_what_is_new_is_told_unless_the_client_says_where_it_was(rolling):
    events = Events(rolling.store, poll_s=0.001)
    newest = rolling.store.journal("id-of-e")[-1].id
    assert heard(events, Scope(3)) == [f"retry: 2000\nid: {newest}\n\n"]
    say(rolling, "one")
    say(rolling, "two")
    whole = [parsed(part) for part in heard(events, Scope(2, "0"))[1:]]
    assert [kind for kind, _, _ in whole][-2:] == ["one", "two"]
    assert whole[-1][2]["data"] == {"text": "a\nb"}
    again = [parsed(part) for part in heard(events, Scope(2, str(whole[-2][1])))[1:]]
    assert again == whole[-1:]


def test_the_stream_ends_with_its_endpoint(rolling):
    say(rolling, "endpoint_deleted")
    say(rolling, "later")
    parts = heard(Events(rolling.store, poll_s=0.001), Scope(10_000, "0"))
    assert parsed(parts[-1])[0] == "endpoint_deleted"


def test_a_stream_ends_by_itself_in_the_end(rolling):
    events = Events(rolling.store, poll_s=0.001, longest_s=0.05)
    scope = Scope(1_000_000)
    assert len(heard(events, scope)) == 1
    assert scope.looks > 0


def test_silence_is_broken_by_a_comment(rolling):
    events = Events(rolling.store, poll_s=0.01, keep_alive_s=0.02)
    assert ": still here\n\n" in heard(events, Scope(20))


@pytest.mark.parametrize("last", ["x", "-1", "9" * 40, "1.5"])
def test_a_last_event_that_is_none_is_refused(rolling, last):
    reply = rolling("GET", "events", last_event_id=last)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_an_unknown_endpoint_has_no_events(rolling):
    assert rolling("GET", "/api/serinus/v1/endpoints/f/events").status_code == 404


def test_events_come_over_the_wire_as_they_happen(rolling):
    from tests.contract.conftest import listening

    rolling.start()
    with (
        listening(rolling.app) as url,
        closing(httpx.Client(base_url=url, timeout=20)) as client,
        client.stream(
            "GET", "/api/serinus/v1/endpoints/e/events", headers={"last-event-id": "0"}
        ) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        kinds = []
        for line in lines:
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
            if kinds[-1:] == ["rollout_started"] and "later" not in kinds:
                say(rolling, "later")
            if kinds[-1:] == ["later"]:
                break
    assert kinds.index("rollout_started") < kinds.index("later")
