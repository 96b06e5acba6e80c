"""The outside of a JSON request: exactly one input form, perhaps ``params``. Nothing of columns.

Every way of reading a request begins here; the strict one knows no NaN and no key twice, MLflow's
own lets them pass and they are counted.
"""

import json
import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from serinus.errors import BadRequest
from serinus.replica.excerpt import excerpt
from serinus.replica.keys import all_differ, count_keys, find_doubled

__all__ = ["FORMS", "MAX_DEPTH", "Envelope", "open_envelope", "open_leniently", "read_json"]

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
#: Arrays and objects inside each other; more than this is an attack or a mistake.
MAX_DEPTH = 64

#: Where msgspec says that a body stops being JSON, and what other writers put there.
_PLACE = re.compile(r"\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"NaN|Infinity")
#: How many fields of a request without a form are named.
_SHOWN = 3
_ONE_FORM = (
    "The request must be a JSON object with exactly one of the fields 'dataframe_split', "
    "'dataframe_records', 'instances' and 'inputs'"
)


class Envelope(msgspec.Struct, frozen=True):
    """One request, opened."""

    #: Which of `FORMS` it uses.
    form: str
    data: Any
    params: dict[str, Any] | None
    #: Every other field, for models whose input is not in one of the forms.
    keys: frozenset[str]


def open_envelope(body: bytes) -> Envelope:
    """Parse a request body; raises BadRequest when it isn't one."""
    return _opened(read_json(body))


def open_leniently(body: bytes, count: Callable[[str, str], None]) -> Envelope:
    """The same as MLflow's server parses it; what `open_envelope` refuses is counted instead."""

    def constant(text: str) -> float:
        count("*", text.lstrip("-").lower())
        return float(text)

    try:
        document = json.loads(body, parse_constant=constant)
        doubled = find_doubled(body)
    except RecursionError:
        raise BadRequest("The request body nests arrays and objects too deeply.") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError too
        raise BadRequest(f"The request body can't be read as JSON: {error}.") from None
    if doubled is not None:
        count(doubled[0], "twice")
    return _opened(document)


def _opened(document: Any) -> Envelope:
    if not isinstance(document, dict):
        raise BadRequest(f"{_ONE_FORM}, but it is {_kind(document)}.")
    forms = [form for form in FORMS if form in document]
    if len(forms) != 1:
        found = " and ".join(f"'{form}'" for form in forms) or _instead(document)
        raise BadRequest(f"{_ONE_FORM}, but it has {found}.")
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise BadRequest(f"'params' must be an object of names and values, not {_kind(params)}.")
    return Envelope(forms[0], document[forms[0]], params, frozenset(document))


def _instead(document: dict[str, Any]) -> str:
    """What is there where no form is; a slip in a name is seen so."""
    names = [f"'{excerpt(name)}'" for name in islice(document, _SHOWN)]
    more = " and others" if len(document) > _SHOWN else ""
    return f"none of them, only {', '.join(names)}{more}" if names else "none of them"


def read_json(body: bytes) -> Any:
    """The value in a body, strictly: not too deep, no key twice; raises BadRequest."""
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        why = _no_number(body, str(error)) or str(error)
        raise BadRequest(f"The request body can't be read as JSON: {why}.") from None
    except UnicodeDecodeError:
        raise BadRequest("The request body can't be read as JSON: it is not UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    # Counting brackets is far quicker than following them; few requests get past it.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        raise _too_deep()
    if isinstance(document, dict) and not all_differ(body, count_keys(document)):
        _refuse_doubled(body)
    return document


def _no_number(body: bytes, said: str) -> str:
    """What is wrong if it is NaN or Infinity, which json and pandas write; empty otherwise."""
    place = _PLACE.search(said)
    found = _NO_NUMBER.match(body, int(place[1])) if place else None
    if found is None:
        return ""
    name = found[0].decode()
    return f"{name} at byte {found.start()} is no JSON; send null where a value is missing"


def _refuse_doubled(body: bytes) -> None:
    doubled = find_doubled(body)
    if doubled is None:
        return
    key, row = excerpt(doubled[0]), doubled[1]
    got = "the same key twice"
    place = "The request body" if row is None else f"Row {row}"
    raise BadRequest(
        f"{place} has the key '{key}' twice in one object; only one of its values could count. "
        "Send each key once.",
        details=[
            {
                **({} if row is None else {"row": row}),
                "field": key,
                "expected": "each key once",
                "got": got,
            }
        ],
    )


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = [each for each in inner if isinstance(each, dict | list)]
        if depth > MAX_DEPTH:
            break
    return depth


def _too_deep() -> BadRequest:
    return BadRequest(f"The request body nests arrays and objects deeper than {MAX_DEPTH}.")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")
