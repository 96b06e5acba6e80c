"""The reference page of the rollout spec, held against what is read and what a default is."""

import re
from pathlib import Path

import pytest
import yaml

from serinus.errors import InvalidParameterValue
from serinus.rollout.parse import parse_spec
from serinus.rollout.render import to_mapping
from serinus.rollout.spec import GuardrailKind

PAGE = (Path(__file__).parents[3] / "docs/reference/rollout-spec.md").read_text()
BARE = {"candidate": "models:/m/2"}


def test_the_defaults_on_the_page_are_the_defaults() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    # For YAML 1.1 a bare `on` is a truth value; the commands read it as the word.
    shown = yaml.safe_load(block.replace("\non:", "\n'on':"))
    assert parse_spec(shown) == parse_spec({"endpoint": "m", **BARE})
    assert to_mapping(parse_spec(shown)).keys() == shown.keys()


def test_the_page_has_every_key_and_no_other() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
    everything = {
        "endpoint": "m",
        "optimize": "onnx",
        "bake": {},
        "registry_alias": "champion",
    }
    written = {
        *to_mapping(parse_spec(BARE | everything)),
        *to_mapping(parse_spec(BARE | {"strategy": "blue-green"})),
        *to_mapping(parse_spec({"self_test": True})),
    }
    assert rows == written | {kind.value for kind in GuardrailKind}
    for key in written - {"kind", "endpoint", "candidate"}:
        with pytest.raises(InvalidParameterValue, match="is not known"):
            parse_spec({**BARE, f"{key}_": 1})


def test_what_a_bake_and_a_quality_guardrail_are_by_default_is_on_the_page() -> None:
    bare = BARE | {"bake": {}, "guardrails": [{"quality": {"metric": "a"}}]}
    quality = {"metric": "a", "max_drop": "1%", "label_window": "24h", "absent": "missing"}
    full = bare | {
        "bake": {"holdback": "5%", "for": "48h"},
        "guardrails": [{"quality": quality}],
    }
    assert parse_spec(bare) == parse_spec(full)
    for shown in ("`{holdback: 5%, for: 48h}`", "`max_drop` (1%)", "`label_window` (24h)"):
        assert shown in PAGE
