"""What a person says of a field, in one flat mapping, becomes part of the contract.

It must never take what was observed for something that was said.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from serinus.errors import InvalidParameterValue
from serinus.parity.contract import Declared, Field, Nulls, Privacy, Timing

__all__ = ["DECLARABLE", "declare", "lag_seconds", "seconds"]

_PLAIN: dict[str, Any] = {
    "role": str,
    "source": str,
    "entity_keys": list[str],
    "unit": str,
    "tz": str,
    "calendar": str,
    "cyclic": float,
    "privacy": Privacy,
}
_DOMAIN: dict[str, Any] = {
    "min": float,
    "max": float,
    "enum": list[str],
    "pattern": str,
    "integral": bool,
}
_TIME: dict[str, Any] = {"available_at": str, "max_age": str}
_NULL: dict[str, Any] = {
    "null_allowed": bool,
    "null_encodings": list[str],
    "null_policy": str,
    "null_default": int | float | str | bool | None,
}
_CATEGORY: dict[str, Any] = {"unknown_category": str}
_TYPES = {**_PLAIN, **_DOMAIN, **_TIME, **_NULL, **_CATEGORY}
#: What may be said of a field.
DECLARABLE = tuple(_TYPES)

_WORDS = {
    "null_policy": ("reject", "default", "model-native"),
    "unknown_category": ("reject", "bucket", "model-native"),
}
_DURATION = re.compile(
    r"P(?=.)(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)


def declare(fields: list[Field], declared: Mapping[str, Mapping[str, Any]]) -> list[Field]:
    """The fields with what was said of them. Raises InvalidParameterValue."""
    known = {each.name for each in fields}
    for name in declared:
        if name not in known:
            raise InvalidParameterValue(
                f"'{name}' is declared, but the model has no such field{_near(name, known)}."
            )
    return [_declare(each, declared.get(each.name, {})) for each in fields]


def _declare(field: Field, said: Mapping[str, Any]) -> Field:
    if not isinstance(said, Mapping):
        raise InvalidParameterValue(
            f"What is declared of '{field.name}' must be a mapping, such as {{'min': 0}}."
        )
    values = {key: _value(field.name, key, value) for key, value in said.items()}
    changes: dict[str, Any] = {key: values[key] for key in _PLAIN if key in values}
    domain = {key: values[key] for key in _DOMAIN if key in values}
    time = {key: values[key] for key in _TIME if key in values}
    nulls = {key.removeprefix("null_"): values[key] for key in _NULL if key in values}
    if "unknown_category" in values:
        changes["unknown_category"] = values["unknown_category"]
    return msgspec.structs.replace(
        field,
        declared=msgspec.structs.replace(field.declared, **domain) if domain else Declared(),
        time=msgspec.structs.replace(field.time, **time) if time else Timing(),
        null=msgspec.structs.replace(field.null, **nulls)
        if nulls
        else Nulls(allowed=field.null.allowed, policy=field.null.policy),
        **changes,
    )


def _value(name: str, key: str, value: Any) -> Any:
    if key not in _TYPES:
        raise InvalidParameterValue(
            f"'{key}' can't be declared of '{name}'{_near(key, _TYPES)}; known are "
            f"{', '.join(DECLARABLE)}."
        )
    try:
        converted = msgspec.convert(value, _TYPES[key])
        if key == "pattern":
            re.compile(converted)
        if key == "max_age":
            seconds(converted)
        if key == "available_at":
            lag_seconds(converted)
    except (msgspec.ValidationError, re.error, ValueError) as error:
        raise InvalidParameterValue(
            f"'{key}' of '{name}' can't be {value!r:.80}: {error}."
        ) from error
    if key in _WORDS and converted not in _WORDS[key]:
        raise InvalidParameterValue(
            f"'{key}' of '{name}' can't be {value!r:.80}; it is one of {', '.join(_WORDS[key])}."
        )
    return converted


def seconds(duration: str) -> float:
    """An ISO 8601 duration (days, hours, minutes, seconds) in seconds; raises ValueError."""
    match = _DURATION.fullmatch(duration)
    if match is None or duration.endswith("T"):
        raise ValueError(f"{duration!r} is no duration such as PT1H30M or P1D")
    factors = (86_400, 3600, 60, 1)
    return sum(float(part or 0) * by for part, by in zip(match.groups(), factors, strict=True))


def lag_seconds(available_at: str) -> float | None:
    """Seconds after its own time at which a value is there; None for ``after_label``.

    Raises ValueError.
    """
    if available_at == "after_label":
        return None
    if available_at in ("request", "event"):
        return 0.0
    if available_at.startswith("event+"):
        return seconds(available_at.removeprefix("event+"))
    raise ValueError("it is request, after_label, or a delay such as event+PT1H")


def _near(word: str, known: Any) -> str:
    found = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{found[0]}'?)" if found else ""
