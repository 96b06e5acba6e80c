"""One sequence of bytes for one value: JSON with sorted keys, UTF-8, shortest round-trip floats.

It must never write what reads back as something else, nor accept bytes it would not have written.
"""

import hashlib
import math
from typing import Any, TypeVar

import msgspec

from serinus.errors import InvalidParameterValue

__all__ = ["MAX_DOCUMENT", "ContractBroken", "ContractForeign", "canonical", "decode", "sha256"]

#: No single document of a contract may be larger, in bytes.
MAX_DOCUMENT = 32 * 1024 * 1024

T = TypeVar("T")


class ContractBroken(InvalidParameterValue):
    """The contract's files are damaged, incomplete or were changed by hand."""


class ContractForeign(InvalidParameterValue):
    """The contract belongs to another model."""


def canonical(value: Any) -> bytes:
    """The bytes of a struct or of plain values.

    Raises ValueError for what JSON can't say: NaN, infinity, half of a surrogate pair.
    """
    plain = msgspec.to_builtins(value, str_keys=True)
    _check(plain)
    return msgspec.json.encode(plain, order="sorted")


def decode(content: bytes, type_: type[T], name: str) -> T:
    """The value in canonical bytes; ``name`` is the file's, for errors. Raises ContractBroken."""
    if len(content) > MAX_DOCUMENT:
        raise ContractBroken(
            f"{name} has {len(content)} bytes; at most {MAX_DOCUMENT} are read. Capture again "
            "with fewer fields."
        )
    try:
        value = msgspec.json.decode(content, type=type_)
        same = canonical(value) == content
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError, TypeError) as error:
        raise ContractBroken(f"{name} can't be read ({error}); capture the contract again.") from (
            error
        )
    if not same:
        raise ContractBroken(
            f"{name} is not in canonical form: it was changed after capture, or it repeats a key. "
            "Capture the contract again instead of editing it."
        )
    return value


def sha256(content: bytes) -> str:
    """The SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def _check(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no form in JSON")
    if isinstance(value, str) and not value.isascii():
        value.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for lone surrogates
    if isinstance(value, dict):
        for key, each in value.items():
            _check(key)
            _check(each)
    elif isinstance(value, list):
        for each in value:
            _check(each)
