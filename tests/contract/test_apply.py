"""``serinus apply`` of whole endpoints against the control API: made, changed, left alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app

ENDPOINT = """
kind: Endpoint
name: fraud
tags: {team: risk, tier: 1}
config:
  served_entities:
    - {name: v1, entity_name: m, entity_version: 1, environment_vars: {LEVEL: "3"}}
    - {name: v2, entity_name: m, entity_version: 2}
  traffic_config:
    routes:
      - {served_entity_name: v1, traffic_percentage: 90}
      - {served_entity_name: v2, traffic_percentage: 10}
rate_limits: [{calls: 600, renewal_period: minute}]
policy: {verification: 'off', direct_updates: allow}
"""


@pytest.fixture
def apply(served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SERINUS_SERVER", served.url)
    monkeypatch.setenv("COLUMNS", "300")

    def apply(*texts: str, code: int = 0) -> Any:
        file = tmp_path / "wanted.yaml"
        file.write_text("---".join(texts))
        found = CliRunner().invoke(app, ["apply", "-f", str(file), "-o", "json"])
        assert found.exit_code == code, found.output
        return json.loads(found.stdout) if not code else found.stderr

    return apply


def test_an_endpoint_is_made_once_and_then_only_what_differs_is_changed(apply, served) -> None:
    other = ENDPOINT.replace("name: fraud", "name: other")
    made = apply(ENDPOINT, other)
    assert made["endpoints"] == [
        {"name": "fraud", "changed": ["created", "policy"]},
        {"name": "other", "changed": ["created", "policy"]},
    ]
    endpoint = served.store.endpoint("fraud")
    assert endpoint.active.weights == {"v1": 9000, "v2": 1000}
    assert endpoint.tags == {"team": "risk", "tier": "1"}
    assert [each.calls for each in endpoint.rate_limits] == [600]
    for _ in range(2):
        again = apply(ENDPOINT, other)
        assert again["endpoints"] == [
            {"name": "fraud", "changed": []},
            {"name": "other", "changed": []},
        ]
    assert served.store.endpoint("fraud").active.version == 1
    # A value that replies never show is compared all the same.
    changed = ENDPOINT.replace('LEVEL: "3"', 'LEVEL: "4"').replace("tier: 1", "tier: 2")
    assert apply(changed)["endpoints"][0]["changed"] == ["config", "tags"]
    after = served.store.endpoint("fraud")
    assert after.active.entity("v1").environment_vars == {"LEVEL": "4"}
    assert (after.active.version, after.tags["tier"]) == (2, "2")
    # What a document does not speak of stays.
    short = "".join(
        line + "\n"
        for line in changed.splitlines()
        if not line.startswith(("tags", "rate_limits", "policy"))
    )
    assert apply(short)["endpoints"][0]["changed"] == []
    assert served.store.endpoint("fraud").tags["tier"] == "2"
    assert apply(changed.replace("calls: 600", "calls: 5"))["endpoints"][0]["changed"] == [
        "rate limits"
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tags:", "tag:", "tag is not known; did you mean tags?"),
        ("entity_version: 2", "entity_verion: 2", "config.served_entities[1].entity_verion"),
        ("traffic_config", "trafic", "config.trafic is not known; did you mean traffic_config?"),
        ("traffic_percentage: 10", "traffic_percentage: 20", "it is 110"),
        ("{team: risk, tier: 1}", "risk", "tags must be a mapping"),
        ("name: fraud", "name: fr aud", "'fr aud' is not allowed"),
        ("kind: Endpoint", "kind: Endpont", "known are Endpoint, Rollout"),
        ("calls: 600", "calls: many", "rate_limits.0.calls"),
        ("policy: {verification: 'off', direct_updates: allow}", "policy: 1", "must be a mapping"),
    ],
)
def test_what_no_server_takes_is_named_before_any_is_asked(apply, served, old, new, words) -> None:
    said = apply(ENDPOINT.replace("name: fraud", "name: good"), ENDPOINT.replace(old, new), code=2)
    assert words in " ".join(said.split())
    assert "document 2" in said
    assert served.store.endpoints() == ()


def test_one_that_can_not_be_loaded_is_a_finding(apply, served) -> None:
    said = apply(ENDPOINT.replace("entity_name: m,", "entity_name: broken,"), code=1)
    assert "can't be loaded" in said


def test_an_endpoint_is_stopped_and_started(apply, served) -> None:
    apply(ENDPOINT)
    runner = CliRunner()
    stopped = runner.invoke(app, ["endpoints", "stop", "fraud"])
    assert (stopped.exit_code, stopped.stdout.splitlines()[0]) == (
        0,
        "fraud  stopped  not updating",
    )
    assert served.store.endpoint("fraud").stopped
    assert "Start it first" in apply(ENDPOINT.replace("3", "4"), code=1)
    started = runner.invoke(app, ["endpoints", "start", "fraud", "-o", "json"])
    assert json.loads(started.stdout)["config"]["config_version"] == 2
