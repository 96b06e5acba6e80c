"""How a rollout's own words go over an endpoint's default spec. Pure; checks nothing."""

from collections.abc import Mapping
from typing import Any

__all__ = ["over_default"]

#: Keys that mean something with one strategy only.
_BY_STRATEGY = ("steps", "preview", "cutover", "control", "bake")


def over_default(default: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``wanted`` key by key over ``default``, which loses what belongs to another strategy."""
    kept = dict(default)
    if "strategy" in wanted and wanted["strategy"] != kept.get("strategy", "canary"):
        kept = {key: value for key, value in kept.items() if key not in _BY_STRATEGY}
    if wanted.get("self_test") is True:
        # It tries the gate of a canary and changes nothing, whatever releases go by.
        other = kept.get("strategy", "canary") != "canary"
        without = _BY_STRATEGY if other else ("bake",)
        kept = {
            key: value
            for key, value in kept.items()
            if key not in ("strategy", "registry_alias", *without)
        }
    return {**kept, **wanted}
