"""Diagnoses over the API: made, kept, told once, and asked by CI."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from serinus.api.app import create_app
from serinus.errors import TemporarilyUnavailable
from serinus.parity.folder import Bundle, write_bundle
from serinus.parity.folding import Batch, fold
from serinus.parity.live import Record
from serinus.parity.lock import Lock
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch, pack
from serinus.store.live import LiveHour
from tests.unit.api.rolling import OURS, Rolling
from tests.unit.parity.diagnosis.known import contract, rows_like_training

_PATH = f"{OURS}/e/diagnosis"


class Shop:
    """The endpoint ``e`` whose model has the shop's contract, and whose callers send rows."""

    def __init__(self, rolling: Rolling, where: Path) -> None:
        self.rolling = rolling
        made, profile = contract()
        self.bundle = write_bundle(Bundle(made, profile, Lock(python="3.11")), where / "contract")
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.records: list[Record] = []
        self.deaf = False
        self.app = create_app(
            rolling.store,
            wake=lambda: None,
            replica_logs=lambda endpoint_id, served: "",
            clock=lambda: rolling.world.at,
            new_id=lambda: "f" * 32,
            workspace_id="4711",
            model_directory=lambda digest: where,
            evidence=lambda endpoint_id, served: [(served, self.records)],
            notify=self._notify,
        )

    def _notify(self, url: str, body: Any) -> None:
        self.told.append((url, dict(body)))
        if self.deaf:
            raise TemporarilyUnavailable("nobody listens")

    def send(self, caller: str, cells: dict[str, list[Any]]) -> None:
        """What a replica counted of these rows, in place of what the caller sent before."""
        sketch = Sketch()
        count = len(cells["size"])
        shape = shape_of(self.bundle.contract, self.bundle.profile)
        fold(sketch, shape, Batch(count, cells, requests=count))
        at = self.rolling.world.at.timestamp()
        endpoint = self.rolling.store.endpoint("e")
        hour = LiveHour(
            endpoint.id, "m-1", int(at // 3600), caller, "r1", self.bundle.id, "d1", count,
            pack(sketch),
        )  # fmt: skip
        self.rolling.store.live.keep([hour], not_before=0)
        names = list(cells)
        self.records += [
            Record(
                at=at,
                request_id=f"{caller}-{number}",
                caller=caller,
                rows=[dict(zip(names, row, strict=True))],
            )
            for number, row in enumerate(zip(*cells.values(), strict=True))
        ]

    def __call__(self, method: str, path: str = "", body: Any = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://me:8080") as client:
                return await client.request(method, f"{_PATH}{path}", json=body)

        return asyncio.run(ask())

    def kinds(self) -> list[str]:
        """What the journal says of diagnoses."""
        return [e.kind for e in self.rolling.store.journal() if e.kind.startswith("diagnos")]


@pytest.fixture
def shop(rolling: Rolling, tmp_path: Path) -> Shop:
    rolling.world.pass_time(5)
    return Shop(rolling, tmp_path)


def test_a_finding_is_told_once_and_so_is_its_end(shop: Shop) -> None:
    hook = {"webhook": "https://example.org/hook", "on": ["paused"]}
    shop.rolling.good("PUT", "policy", {"rollout": {"notify": [hook]}})
    assert shop("GET").status_code == 404
    assert shop("POST").json()["detail"] == "inconclusive.not_enough_data"
    shop.send("web", rows_like_training(2000, 2))
    assert shop("POST").json()["verdict"] == "healthy"
    assert shop("GET", "/may-retrain").json()["allowed"] is True
    assert shop.told == []

    wrong = rows_like_training(2000, 3)
    wrong["plan"] = [each.upper() for each in wrong["plan"]]
    shop.send("app", wrong)
    shop.deaf = True
    found = shop("POST").json()
    assert (found["detail"], found["features"]) == ("schema.semantics", ["plan"])
    assert found["findings"][0]["callers"] == ["app"]
    shop("POST")
    assert [(url, body["event"]) for url, body in shop.told] == [
        ("https://example.org/hook", "diagnosis_finding")
    ]
    answer = shop("GET", "/may-retrain").json()
    assert (answer["allowed"], answer["verdict"]) == (False, "schema")
    assert shop("POST", body={"caller": "web"}).json()["verdict"] == "healthy"
    assert shop("GET").json()["detail"] == "schema.semantics"

    shop.records.clear()
    shop.send("app", rows_like_training(2000, 4))
    assert shop("POST").json()["verdict"] == "healthy"
    assert shop.told[-1][1]["event"] == "diagnosis_recovered"
    assert shop.kinds().count("diagnosis_finding") == 1
    assert shop.kinds()[-1] == "diagnosis_recovered"


def test_what_was_proved_too_long_ago_allows_nothing(shop: Shop) -> None:
    shop.send("web", rows_like_training(2000, 2))
    assert shop("POST", body={"window": "1h"}).json()["verdict"] == "healthy"
    assert shop("GET", "/may-retrain").json()["allowed"] is True
    shop.rolling.world.pass_time(2 * 3600)
    answer = shop("GET", "/may-retrain").json()
    assert answer["allowed"] is False
    assert "--live" in answer["reason"]


def test_an_offline_table_proves_a_value_wrong(shop: Shop) -> None:
    cells = rows_like_training(2000, 2)
    truth = {name: list(cells[name]) for name in ("height", "weight", "stock")}
    cells["stock"] = [each * 3 for each in cells["stock"]]
    shop.send("web", cells)
    table = {"name": "shelves", "keys": ["height", "weight"], "columns": truth}
    found = shop("POST", body={"offline": table}).json()
    assert (found["detail"], found["confidence"]) == ("schema.semantics", "exact")
    assert found["findings"][0]["pattern"] == "x 3"
    keys = shop("GET", "/keys?fields=height,weight").json()["keys"]
    assert {"height": truth["height"][0], "weight": truth["weight"][0]} in keys


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"windw": "1h"}, "takes no field 'windw'"),
        ({"window": "soon"}, "write a number with m, h or d"),
        ({"version": "m-7"}, "has no served entity 'm-7'"),
        ({"caller": 7}, "caller must be a text"),
        ({"offline": {"keys": ["a"]}}, "offline can't be read"),
        ({"offline": {"keys": ["a"], "columns": {"a": [1], "b": []}}}, "columns of one length"),
        ({"offline": {"keys": ["a"], "columns": {"b": [1]}}}, "has no column 'a'"),
    ],
)
def test_what_can_not_be_used_is_named(shop: Shop, body: dict[str, Any], says: str) -> None:
    answer = shop("POST", body=body)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["message"], json.dumps(answer.json())


def test_without_a_contract_it_says_what_it_waits_for(rolling: Rolling) -> None:
    code, _, sentence = rolling.refused("POST", "diagnosis")
    assert code == 400
    assert "no contract yet" in sentence
