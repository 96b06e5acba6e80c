"""Finds keys that are twice in one JSON object, which decoders take for the last of the two.

It compares the number of keys that a decoder found with the number of colons in the text, and
parses again only when that leaves a doubt. It must never miss one.
"""

import json
from typing import Any

import numpy as np

__all__ = ["Doubled", "all_differ", "count_keys", "find_doubled"]

#: Shorter texts are searched faster byte by byte than as an array.
_SHORT = 4096
_COLON, _QUOTE = ord(":"), ord('"')


class Doubled(dict[str, Any]):
    """An object that has a key twice."""

    key: str = ""


def all_differ(body: bytes, keys: int) -> bool:
    """True when a document that decodes to so many keys surely has none twice; cheap.

    Each key is followed by a colon, mostly at once. Strings may hold colons, too, so counting
    finds too many keys at worst, never too few; unless there is space between a key's quote and
    its colon, which is a doubt.
    """
    if len(body) < _SHORT:
        if body.count(b":") == keys:
            return True
        spaced = b" :" in body or b"\n:" in body or b"\t:" in body or b"\r:" in body
        return not spaced and body.count(b'":') == keys
    text = np.frombuffer(body, np.uint8)
    colons = np.flatnonzero(text == _COLON)
    if len(colons) == keys:
        return True
    before = text[colons - 1]
    return not bool((before <= 32).any()) and int(np.count_nonzero(before == _QUOTE)) == keys


def count_keys(document: Any) -> int:
    """How many keys a decoded document has, at all depths."""
    found, waiting = 0, [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            found += len(each)
            waiting += [value for value in each.values() if type(value) in (dict, list)]
        else:
            waiting += [value for value in each if type(value) in (dict, list)]
    return found


def find_doubled(body: bytes) -> tuple[str, int | None] | None:
    """A key that is twice in one object, and the row that the object is; None when all differ."""
    found: list[Doubled] = []

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        doubled = Doubled(made)
        seen: set[str] = set()
        doubled.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        found.append(doubled)
        return doubled

    # The text was decoded once already, so neither depth nor numbers can be too large here.
    document = json.loads(body, object_pairs_hook=make)
    if not found:
        return None
    return found[0].key, _row(document, found[0])


def _row(document: Any, doubled: Doubled) -> int | None:
    for rows in document.values() if isinstance(document, dict) else ():
        if isinstance(rows, list):
            for at, row in enumerate(rows):
                if row is doubled:
                    return at
    return None
