"""Verifications and contracts as callers see them, and how they let a version by."""

import json
from pathlib import Path

import msgspec
import pytest

from serinus.api.app import create_app
from serinus.evidence.summary import Flush, PairSummary, StageSummary
from serinus.parity.verification import Gate, GateResult, Result, Verification
from serinus.rollout.judging import Kept

GATE = {"name", "result", "class", "stage", "detail"}


def _only(rolling):
    [found] = rolling.good("GET", "verification")["verifications"]
    return found


def test_what_serves_is_shown_with_its_gates(rolling):
    rolling.world.pass_time(5)
    shown = rolling.good("GET", "verification")
    assert shown["policy"] == "warn"
    [found] = shown["verifications"]
    assert (found["served_entity"], found["config_version"]) == ("m-1", 1)
    assert (found["status"], found["result"], found["rows"]) == ("ended", "pass", 3)
    assert [gate["name"] for gate in found["gates"]] == ["identity", "golden"]
    assert all(set(gate) == GATE for gate in found["gates"])
    assert found["model_digest"] == "d1"
    assert found["started_at"] <= found["ended_at"]


def test_it_is_done_again_when_somebody_asks(rolling):
    rolling.world.pass_time(5)
    rolling.world.verifier.faults["d1"] = "environment.library"
    rolling.world.verifier.hangs = True
    asked = rolling.good("POST", "verification", x_serinus_actor="ada")
    assert asked["verifications"][0]["status"] in ("asked", "running")
    rolling.world.verifier.hangs = False
    rolling.world.pass_time(5)
    found = _only(rolling)
    assert (found["status"], found["result"]) == ("ended", "fail")
    assert found["gates"][1]["class"] == "environment.library"
    [entry] = [e for e in rolling.store.journal() if e.kind == "verification_requested"]
    assert entry.actor == "ada"
    assert rolling.refused("POST", "verification", {"again": True})[0] == 400


def test_a_rollout_shows_the_verification_of_its_candidate(rolling):
    rolling.good("PUT", "policy", {"verification": "required"})
    rolling.world.verifier.faults["d2"] = "preprocessing.transform"
    rolling.start()
    found = rolling.until("ROLLED_BACK")
    assert found["cause"] == "verification_failed"
    shown = found["verification"]
    assert (shown["result"], shown["waived"]) == ("fail", None)
    assert shown["gates"][1]["stage"] == "S3"
    assert rolling.split() == {"m-1": 100}
    served = rolling.endpoint()["pending_config"]["served_entities"][0]
    assert "preprocessing.transform" in served["state"]["deployment_state_message"]


def test_the_shadow_gate_is_read_off_the_rollouts_own_evidence(rolling):
    """Verification ends before any traffic; what copies of it showed is in the report as well."""
    gates = [Gate(name=name, result=GateResult.PASS) for name in ("identity", "golden")]
    shadow = Gate(name="shadow", result=GateResult.SKIPPED, detail="There is no live traffic.")
    rolling.world.verifier.reports["d2"] = Verification(
        result=Result.PASS, gates=[*gates, shadow], model_digest="d2", rows=3
    )
    steps = [{"shadow": {"until": {"requests": 10}}}, {"set_weight": "5%"}]
    guardrails = [{"predictions": {"on_fail": "rollback"}}]
    rolling.start(steps=steps, guardrails=guardrails)
    rolling.world.until(lambda: rolling.now()["phase"] == "SHADOWING")

    def shown():
        by_name = {
            each["served_entity"]: each
            for each in rolling.good("GET", "verification")["verifications"]
        }
        rollout = rolling.now()["verification"]
        assert rollout == {key: by_name["m-2"][key] for key in rollout}
        return rollout

    found = shown()
    assert (found["result"], found["gates"][2]["result"]) == ("pass", "skipped")

    state = rolling.world.state(rolling.now()["id"])
    pairs = PairSummary(pairs=300, flips=200, over_tolerance=200)
    kept = Kept()
    summary = StageSummary(state.id, state.stage, shadow=pairs)
    kept.ledger.replace(Flush("g", "i", 1, [summary]))
    rolling.store.rollouts.keep_evidence(
        state.id, state.evidence_key, msgspec.to_builtins(kept, str_keys=True), rolling.world.at
    )
    found = shown()
    assert (found["result"], found["gates"][2]["class"]) == ("fail", "model")
    assert "300 copied requests were answered by both sides" in found["gates"][2]["detail"]


@pytest.mark.parametrize("verb", ["start", "retry", "approve"])
def test_a_waiver_needs_a_reason_and_is_shown(rolling, verb):
    rolling.good("PUT", "policy", {"verification": "required"})
    rolling.world.verifier.faults["d2"] = "model"
    reason = {"waive_verification": "known since May"}
    if verb == "start":
        status, _, message = rolling.refused(
            "POST", "rollouts", {"candidate": "models:/m/2", "waive_verification": " "}
        )
        assert (status, "why this version may go by" in message) == (400, True)
        rolling.start(**reason)
    else:
        rolling.deaf = verb == "approve"  # nothing ends before it is approved
        rolling.start()
        if verb == "retry":
            rolling.until("ROLLED_BACK")
        path = f"rollouts/current/{verb}"
        status, _, message = rolling.refused("POST", path, {"waive_verification": ""})
        assert (status, "must say why" in message) == (400, True)
        rolling.good("POST", path, reason, x_serinus_actor="ada")
    found = rolling.until("SUCCEEDED")
    assert found["verification"]["result"] == "waived"
    assert found["verification"]["waived"].endswith(": known since May")
    assert "was not verified before any traffic: waived by" in found["why"]
    # The gates were tried all the same, so that everybody sees what was waived.
    assert found["verification"]["gates"][1]["result"] == "fail"
    [shown] = rolling.good("GET", "verification")["verifications"]
    assert (shown["served_entity"], shown["result"]) == ("m-2", "waived")


def test_there_is_nothing_to_waive_once_it_has_traffic(rolling):
    rolling.start(advance={"after": "1h"})
    rolling.world.until(lambda: rolling.now()["weight_bp"] > 0)
    waiver = {"waive_verification": "late"}
    status, code, message = rolling.refused("POST", "rollouts/current/approve", waiver)
    assert (status, code) == (400, "INVALID_STATE")
    assert "nothing to approve" in message


def test_an_undo_waits_for_no_verification(rolling):
    rolling.start()
    rolling.until("SUCCEEDED")
    rolling.good("PUT", "policy", {"verification": "required"})
    rolling.world.verifier.faults["d1"] = "model"
    rolling.good("POST", "verification", {})
    rolling.good("POST", "undo")
    rolling.world.until(lambda: rolling.split() == {"m-1": 100})
    assert "an undo" in rolling.now()["verification"]["waived"]


def test_a_contract_that_is_not_there_names_the_way_out(rolling):
    status, code, message = rolling.refused("GET", "contract")
    assert (status, code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "serinus contract show MODEL" in message


@pytest.fixture
def with_models(rolling, tmp_path):
    """The same API with a directory of models: that of ``d1`` says what MLflow says."""
    model = tmp_path / "models" / "d1"
    model.mkdir(parents=True)
    inputs = json.dumps([{"name": "x", "type": "double", "required": True}])
    (model / "MLmodel").write_text(
        f"flavors:\n  python_function: {{loader_module: mlflow.sklearn}}\n"
        f"signature:\n  inputs: '{inputs}'\n"
    )
    rolling.app = create_app(
        rolling.store,
        wake=lambda: None,
        replica_logs=lambda endpoint_id, served: "",
        clock=lambda: rolling.world.at,
        new_id=lambda: "0" * 32,
        workspace_id="4711",
        model_directory=lambda digest: Path(tmp_path / "models" / digest),
    )
    return rolling


def test_a_model_without_a_contract_shows_what_its_signature_promises(with_models):
    [found] = with_models.good("GET", "contract")["contracts"]
    assert (found["served_entity"], found["origin"], found["error"]) == ("m-1", "derived", None)
    assert [field["name"] for field in found["contract"]["fields"]] == ["x"]
    assert found["contract"]["cannot"]
    assert len(found["id"]) == 64


def test_a_contract_that_can_not_be_trusted_says_why(with_models, tmp_path):
    broken = tmp_path / "models" / "d1" / "contract"
    broken.mkdir()
    (broken / "contract.json").write_text("{")
    [found] = with_models.good("GET", "contract")["contracts"]
    assert found["contract"] is None
    assert "contract.json" in found["error"]
