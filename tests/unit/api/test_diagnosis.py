"""Diagnoses over the API: made, kept, told once, and asked by CI."""

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from serinus.api.app import create_app
from serinus.errors import TemporarilyUnavailable
from serinus.parity.contract import Contract, Metric, Outputs
from serinus.parity.folder import Bundle, model_digest, write_bundle
from serinus.parity.folding import Batch, fold
from serinus.parity.live import Record
from serinus.parity.lock import Lock
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch, pack
from serinus.parity.wire import Answer, Request, Running
from serinus.store.live import LiveHour
from serinus.store.samples import Sampled
from tests.unit.api.rolling import BRISK, OURS, Rolling
from tests.unit.parity.diagnosis.known import contract, rows_like_training

_PATH = f"{OURS}/e/diagnosis"


class Shop:
    """The endpoint ``e`` whose model has the shop's contract, and whose callers send rows."""

    def __init__(self, rolling: Rolling, where: Path) -> None:
        self.rolling = rolling
        made, profile = contract()
        self._profile, self._where = profile, where
        self.write(made)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.replicas: dict[str, Running | None] = {}
        #: What a replica answers now to the requests that it is asked again.
        self.answers: list[Answer] = []
        self.asked: list[Request] = []
        self.deaf = False
        self.sent = 0
        self.app = create_app(
            rolling.store,
            wake=lambda: None,
            replica_logs=lambda endpoint_id, served: "",
            clock=lambda: rolling.world.at,
            new_id=lambda: "f" * 32,
            workspace_id="4711",
            model_directory=lambda digest: where,
            replicas=lambda endpoint_id, served: self.replicas,
            again=self._again,
            notify=self._notify,
        )

    def _notify(self, url: str, body: Any) -> None:
        self.told.append((url, dict(body)))
        if self.deaf:
            raise TemporarilyUnavailable("nobody listens")

    def write(self, made: Contract) -> None:
        """Give the model this contract."""
        shutil.rmtree(self._where / "contract", ignore_errors=True)
        self._where.mkdir(exist_ok=True)
        (self._where / "MLmodel").write_text("flavors: {}\n")
        owner = msgspec.structs.replace(made.model, digest=model_digest(self._where))
        made = msgspec.structs.replace(made, model=owner)
        lock = Lock(python="3.11")
        self.bundle = write_bundle(Bundle(made, self._profile, lock), self._where / "contract")

    def _again(self, endpoint_id: str, served: str, requests: Sequence[Request]) -> list[Answer]:
        self.asked = list(requests)
        return self.answers[: len(requests)]

    def forget_rows(self) -> None:
        """As if nothing had been sampled."""
        self.rolling.store.samples.keep([], not_before=1 << 30)

    def send(self, caller: str, cells: dict[str, list[Any]], **more: Any) -> None:
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
        self.sent += 1
        records = [
            Record(
                at=at,
                request_id=f"{caller}-{self.sent}-{number}",
                caller=caller,
                rows=[dict(zip(names, row, strict=True))],
                entity=number,
                **more,
            )
            for number, row in enumerate(zip(*cells.values(), strict=True))
        ]
        sampled = [Sampled(endpoint.id, "m-1", "r1", "d1", record) for record in records]
        self.rolling.store.samples.keep(sampled, not_before=0)

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


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Shop]:
    """The same on one database only."""
    rolling = Rolling(tmp_path)
    rolling.world.pass_time(5)
    yield Shop(rolling, tmp_path / "m")
    rolling.world.close()


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

    shop.forget_rows()
    shop.send("app", rows_like_training(2000, 4))
    assert shop("POST").json()["verdict"] == "healthy"
    assert shop.told[-1][1]["event"] == "diagnosis_recovered"
    assert shop.kinds().count("diagnosis_finding") == 1
    assert shop.kinds()[-1] == "diagnosis_recovered"


def test_what_proves_nothing_neither_ends_a_finding_nor_tells_it_again(plain: Shop) -> None:
    wrong = rows_like_training(2000, 3)
    wrong["plan"] = [each.upper() for each in wrong["plan"]]

    def asked(cells: dict[str, list[Any]]) -> str:
        plain.forget_rows()
        plain.send("app", cells)
        return str(plain("POST").json()["verdict"])

    few = rows_like_training(100, 4)
    assert [asked(each) for each in (wrong, few, wrong)] == ["schema", "inconclusive", "schema"]
    told = ["diagnosis_finding", "diagnosis_recovered"]
    assert [each for each in plain.kinds() if each in told] == told[:1]
    right = rows_like_training(2000, 5)
    assert [asked(each) for each in (few, right, right)] == ["inconclusive", "healthy", "healthy"]
    assert [each for each in plain.kinds() if each in told] == told


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


def test_rows_outlive_replicas_and_those_of_another_model_do_not_count(plain: Shop) -> None:
    plain.send("web", rows_like_training(1200, 2))
    wrong = rows_like_training(1200, 3)
    wrong["plan"] = [each.upper() for each in wrong["plan"]]
    at = plain.rolling.world.at.timestamp()
    names = list(wrong)
    others = [
        Record(
            at=at,
            request_id=f"old-{number}",
            caller="web",
            rows=[dict(zip(names, row, strict=True))],
            entity=number,
        )
        for number, row in enumerate(zip(*wrong.values(), strict=True))
    ]
    endpoint = plain.rolling.store.endpoint("e")
    sampled = [Sampled(endpoint.id, "m-1", "r0", "d0", each) for each in others]
    plain.rolling.store.samples.keep(sampled, not_before=0)
    keys = plain("GET", "/keys?fields=plan").json()["keys"]
    assert {each["plan"] for each in keys} == {"Gold", "Silver", "Free"}
    assert plain("POST").json()["verdict"] == "healthy"


@pytest.mark.parametrize(
    ("running", "detail", "says"),
    [
        (Running(model_digest="d1", files_digest="d1"), "healthy", "by their files read again"),
        (Running(model_digest="d7", files_digest="d7"), "routing.version", "another model than"),
        (Running(model_digest="d1", files_digest="bad"), "model.artefact", "hash to bad"),
        (Running(model_digest="d1", files_digest="d1", untouched=False), "healthy", "touched"),
        (Running(model_digest="d1", contract_id="c9"), "routing.contract", "another contract"),
    ],
)
def test_replicas_are_asked_who_they_are(
    plain: Shop, running: Running, detail: str, says: str
) -> None:
    plain.send("web", rows_like_training(1500, 2))
    plain.replicas = {"one": Running(model_digest="d1", files_digest="d1"), "two": running}
    told = plain("POST").json()
    assert told["detail"] == detail, told["findings"]
    assert says in json.dumps(told), json.dumps(told)


def test_files_of_another_version_are_routing_not_damage(plain: Shop) -> None:
    plain.rolling.good("POST", "rollouts", {"candidate": "models:/m/2", **BRISK})
    plain.rolling.until("SUCCEEDED")
    plain.replicas = {"one": Running(model_digest="d2", files_digest="d1")}
    told = plain("POST").json()
    assert told["version"] == "m-2"
    assert told["detail"] == "routing.version"
    assert "another version of this endpoint" in json.dumps(told["findings"])


def test_recorded_requests_are_asked_again(plain: Shop) -> None:
    body, answer = b'{"dataframe_records": [{}]}', b'{"predictions": [0.25]}'
    plain.send("web", rows_like_training(1500, 2), body=body, answer=answer, format="JSON")
    plain.answers = [Answer(200, b'{"predictions": [0.2500000001]}')] * 100
    same = plain("POST").json()
    assert same["verdict"] == "healthy"
    assert len(plain.asked) == 100
    assert "100 recorded rows, asked again alone, had the same answers" in json.dumps(same["notes"])
    plain.answers = [
        *plain.answers[:60],
        Answer(429, b"{}"),
        Answer(200, b'{"predictions": [0.3]}'),
    ]
    other = plain("POST").json()
    assert (other["detail"], other["confidence"]) == ("model.bug", "exact")
    [evidence] = other["findings"][0]["evidence"]
    assert evidence["text"].startswith("1 of 61 recorded rows")
    assert len(evidence["rows"]) == 1


class Labels:
    """Outcomes of sampled requests, told by their ids."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def tell(self, some: dict[str, float], **more: Any) -> dict[str, Any]:
        told = [{"request_id": id_, "value": value, **more} for id_, value in some.items()]
        return self.shop.rolling.good("POST", "outcomes", {"outcomes": told})


def _claims(plain: Shop, **more: Any) -> None:
    """The model's contract also claims an accuracy of 0.9 by decisions of yes and no."""
    made = plain.bundle.contract
    metric = Metric(name="accuracy", offline=0.9, rows=8000, low=0.893, high=0.907)
    outputs = Outputs(kind="class", classes=["0", "1"], **more)
    made = msgspec.structs.replace(made, metrics=[metric], outputs=outputs)
    plain.write(made)


@pytest.mark.parametrize(
    ("good", "told", "detail"),
    [(0.9, 1.0, "healthy"), (0.6, 1.0, "drift.concept"), (0.6, 0.2, "inconclusive.labels_late")],
)
def test_outcomes_of_sampled_requests_say_whether_the_world_changed(
    plain: Shop, good: float, told: float, detail: str
) -> None:
    _claims(plain)
    plain.send("web", rows_like_training(1000, 2), answer=b'{"predictions": [1]}')
    plain.send("app", rows_like_training(1000, 3), answer=b'{"predictions": [0]}')
    ids = [f"web-1-{at}" for at in range(1000)] + [f"app-2-{at}" for at in range(1000)]
    kept = [each for each in ids if int(each.rpartition("-")[2]) % 100 < 100 * told]
    counts = Labels(plain).tell(
        {each: float(int(each[6:]) * 7 % 100 < 100 * good) for each in kept}
    )
    assert counts["sampled"] >= 900 * told
    found = plain("POST").json()
    assert found["detail"] == detail, json.dumps(found)


def test_labels_of_one_decision_only_are_a_feedback_loop(plain: Shop) -> None:
    _claims(plain)
    plain.send("web", rows_like_training(500, 2), answer=b'{"predictions": [1]}')
    plain.send("app", rows_like_training(500, 3), answer=b'{"predictions": [0]}')
    plain.send("batch", rows_like_training(500, 4))
    Labels(plain).tell({f"web-1-{at}": 1.0 for at in range(450)}, metric="label")
    found = plain("POST").json()
    assert found["detail"] == "drift.scoring", json.dumps(found)


def test_a_fault_of_the_candidate_holds_its_rollout_until_a_person_overrides(plain: Shop) -> None:
    steps = [{"set_weight": "10%"}, {"pause": {}}, {"set_weight": "50%"}]
    rollout = plain.rolling.good(
        "POST", "rollouts", {"candidate": "models:/m/2", **BRISK, "steps": steps}
    )
    path = f"rollouts/{rollout['id']}"
    now = plain.rolling.until("PAUSED")
    assert now["caution"] is None
    plain.replicas = {"one": Running(model_digest="d2", files_digest="bad")}
    assert plain("POST", body={"version": "m-2"}).json()["detail"] == "model.artefact"
    # What is known of stable does not hide what is known of the candidate.
    plain.replicas = {}
    plain("POST", body={"version": "m-1"})
    now = plain.rolling.now()
    assert now["caution"]["detail"] == "model.artefact"
    assert "m-2 is model.artefact" in now["caution"]["why"]

    plain.rolling.good("POST", f"{path}/approve", {})
    plain.rolling.world.pass_time(60)
    now = plain.rolling.now()
    assert (now["phase"], now["weight_bp"]) == ("PAUSED", 1000)
    assert "diagnosis of the candidate" in now["waiting_for"]
    entries = plain.rolling.good("GET", f"{path}/journal")["entries"]
    decided = [each["data"] for each in entries if each["kind"] == "rollout_decided"]
    assert [each["event"] for each in decided].count("diagnosed") == 1
    assert decided[-1]["cause"] == "diagnosed"

    plain.rolling.good("POST", f"{path}/promote", {"full": True})
    entries = plain.rolling.good("GET", f"{path}/journal")["entries"]
    told = [each for each in entries if each["kind"] == "rollout_cautioned"]
    assert (told[-1]["data"]["verb"], told[-1]["data"]["detail"]) == ("promote", "model.artefact")
    plain.rolling.until("SUCCEEDED")
    assert plain.rolling.now()["caution"] is None
    assert plain.rolling.good("GET", f"{path}/replay")["stands"] is True


def test_a_diagnosis_of_stable_says_nothing_of_the_candidate(plain: Shop) -> None:
    plain.rolling.good(
        "POST",
        "rollouts",
        {"candidate": "models:/m/2", **BRISK, "steps": [{"set_weight": "10%"}, {"pause": {}}]},
    )
    plain.rolling.until("PAUSED")
    plain.replicas = {"one": Running(model_digest="d1", files_digest="bad")}
    assert plain("POST", body={"version": "m-1"}).json()["verdict"] == "model"
    assert plain.rolling.now()["caution"] is None
