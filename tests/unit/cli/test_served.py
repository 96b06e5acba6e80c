import json
from pathlib import Path
from typing import Any

import pytest
import typer

from serinus.cli.served import config_from_arguments, config_from_file


def names(config: dict[str, Any]) -> list[str]:
    return [each["name"] for each in config["served_entities"]]


def test_names_are_those_that_the_api_would_choose() -> None:
    config = config_from_arguments(["models:/main.ml.fraud/3=60", "models:/fraud@champion=40"])
    assert names(config) == ["fraud-3", "fraud-champion"]
    assert config["served_entities"] == [
        {"name": "fraud-3", "entity_name": "main.ml.fraud", "entity_version": "3"},
        {"name": "fraud-champion", "entity_name": "models:/fraud@champion"},
    ]


def test_two_of_one_name_stay_apart() -> None:
    config = config_from_arguments(["runs:/a/model=50", "runs:/b/model=50"])
    assert names(config) == ["model", "model-2"]
    assert [each["served_model_name"] for each in config["traffic_config"]["routes"]] == [
        "model",
        "model-2",
    ]


def test_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my model=7").mkdir()
    for given, name in (("sub/model", "model"), ("my model=7", "my-model-7")):
        entity = config_from_arguments([given])["served_entities"][0]
        assert entity == {"name": name, "entity_name": str(tmp_path / given)}


def test_zero_percent_is_served_but_gets_nothing() -> None:
    config = config_from_arguments(["models:/m/1=100", "models:/m/2=0"])
    assert [each["traffic_percentage"] for each in config["traffic_config"]["routes"]] == [100, 0]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_may_hold_the_config_or_the_whole_request(tmp_path: Path, wrapped: bool) -> None:
    config = {"served_entities": [{"entity_name": "m", "entity_version": "1"}]}
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"name": "m", "config": config} if wrapped else config))
    assert config_from_file(path) == config


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"config": 3}', "\xff"])
def test_any_other_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(typer.BadParameter, match=r"c\.json"):
        config_from_file(path)
