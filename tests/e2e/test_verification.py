"""Verification before traffic on a running server: who is let in, sent back, waived, warned of."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.contract import capture
from tests.e2e.running import Running, eventually, running
from tests.models import save_sklearn

BASE = "/api/serinus/v1/endpoints"
QUICK: dict[str, Any] = {
    "strategy": "blue-green",
    "guardrails": [],
    "step": {"min_duration": "0s", "warmup": "0s"},
    "bake": None,
}
OVER = ("SUCCEEDED", "ROLLED_BACK", "FAILED")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("verification")) as server:
        yield server


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One with its contract, and copies whose scaler was changed after the capture."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    root = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(3)
    frame = pd.DataFrame(random.normal(5, 2, (120, 2)), columns=["a", "b"])
    made = {}
    for name, slope in (("plain", 1.0), ("good", 2.0)):
        model = make_pipeline(StandardScaler(), LinearRegression())
        target = frame["a"] * slope + frame["b"]
        made[name] = save_sklearn(root / name, model.fit(frame, target), frame)
        if name == "good":
            capture(model, frame, target, into=made[name], golden=32, say=lambda _: None)
    for name, shift in (("blocked", 1.0), ("warned", 2.0), ("updated", 3.0)):
        path = made[name] = Path(shutil.copytree(made["good"], root / name))
        changed = pickle.loads((path / "model.pkl").read_bytes())  # noqa: S301 - our own
        changed[0].mean_ += shift
        (path / "model.pkl").write_bytes(pickle.dumps(changed))
    return made


class _Endpoint:
    """One endpoint and who asks things of it."""

    def __init__(self, server: Running, name: str, model: Path) -> None:
        self.server, self.name = server, name
        server.create(name, {f"{name}-1": (model, 100)})

    def __call__(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        url, headers = f"{BASE}/{self.name}/{path}", {"x-serinus-actor": "ada"}
        answer = self.server.http.request(method, url, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, attempt: int = 1) -> dict[str, Any]:
        def end() -> dict[str, Any] | None:
            found = self("GET", "rollouts/current")
            return found if found["phase"] in OVER and found["attempt"] == attempt else None

        return eventually(end, what="the end of the rollout")

    def rolled_out(self, model: Path, **more: Any) -> dict[str, Any]:
        self("POST", "rollouts", {"candidate": str(model), **QUICK, **more})
        return self.ended()

    def journal(self, rollout_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("GET", f"rollouts/{rollout_id}/journal")["entries"]
        return found

    def answer(self) -> float:
        body = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 1.0]]}}
        reply = self.server.ask(self.name, body)
        assert reply.status_code == 200, reply.text
        return float(reply.json()["predictions"][0])


def test_what_passes_goes_on_and_what_was_changed_does_not_unless_somebody_answers_for_it(
    server: Running, models: dict[str, Path]
) -> None:
    endpoint = _Endpoint(server, "strict", models["plain"])
    endpoint("PUT", "policy", {"verification": "required"})

    good = endpoint.rolled_out(models["good"])
    assert good["phase"] == "SUCCEEDED", good["reason"]
    shown = good["verification"]
    assert (shown["result"], shown["waived"]) == ("pass", None)
    assert shown["rows"] >= 20
    gates = {gate["name"]: gate["result"] for gate in shown["gates"]}
    assert {gates["environment"], gates["golden_replay"], gates["path_identity"]} == {"pass"}
    [contract] = endpoint("GET", "contract")["contracts"]
    assert (contract["origin"], contract["id"]) == ("captured", shown["contract_id"])
    right = endpoint.answer()

    back = endpoint.rolled_out(models["blocked"])
    assert (back["phase"], back["cause"]) == ("ROLLED_BACK", "verification_failed")
    failed = [gate for gate in back["verification"]["gates"] if gate["result"] == "fail"]
    assert failed[0]["class"]
    assert failed[0]["class"] in back["reason"]
    [golden] = [gate for gate in failed if gate["name"] == "golden_replay"]
    assert golden["stage"] == "S3"
    entries = endpoint.journal(back["id"])
    assert {entry["data"].get("candidate_bp") or 0 for entry in entries} == {0}
    assert endpoint.answer() == right

    waiver = {"waive_verification": "the scaler was mended by hand"}
    endpoint("POST", f"rollouts/{back['id']}/retry", waiver)
    waived = endpoint.ended(attempt=2)
    assert (waived["phase"], waived["verification"]["result"]) == ("SUCCEEDED", "waived")
    assert waived["verification"]["waived"] == "ada: the scaler was mended by hand"
    [said] = [each for each in endpoint.journal(back["id"]) if each["data"].get("asked") == waiver]
    assert said["actor"] == "ada"
    assert endpoint.answer() != right


def test_an_update_is_refused_where_verification_is_required_and_a_warning_goes_on(
    server: Running, models: dict[str, Path]
) -> None:
    endpoint = _Endpoint(server, "both", models["good"])
    endpoint("PUT", "policy", {"verification": "required"})
    right = endpoint.answer()
    server.update("both", {"both-u": (models["updated"], 100)})
    [entity] = server.wait("both", "UPDATE_FAILED")["pending_config"]["served_entities"]
    assert (
        "Verification before any traffic failed: gate"
        in (entity["state"]["deployment_state_message"])
    )
    assert endpoint.answer() == right

    endpoint("PUT", "policy", {"verification": "warn"})
    warned = endpoint.rolled_out(models["warned"])
    assert (warned["phase"], warned["verification"]["result"]) == ("SUCCEEDED", "fail")
    assert "failed, which only warns: gate" in warned["why"]
