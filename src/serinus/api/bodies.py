"""What callers may send to our own calls. Here, unlike in the calls of others, nothing is ignored:
an unknown field is an error that names the nearest one.
"""

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serinus.errors import InvalidParameterValue

__all__ = [
    "AbortBody",
    "ApproveBody",
    "NoBody",
    "PromoteBody",
    "RetryBody",
    "UndoBody",
    "storable",
    "taken_waiver",
]

_DEEPEST = 20
#: Past this, JSON numbers are no longer the same in every store.
_LARGEST = 2.0**53
_LONGEST_WAIVER = 500


def _storable_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


Text = Annotated[str, Field(max_length=4096), AfterValidator(_storable_text)]


def _reason(value: str) -> str:
    if not value.strip():
        raise ValueError("must say why it may go by its verification")
    return value.strip()


#: Why a version needs no verification; the journal and the rollout keep it.
Waiver = Annotated[
    str, Field(max_length=_LONGEST_WAIVER), AfterValidator(_storable_text), AfterValidator(_reason)
]


class NoBody(BaseModel):
    """Nothing to say but the verb itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(f"unknown field {name[:80]!r}{_nearest(name, cls)}")
        return value


def _nearest(name: str, model: type[BaseModel]) -> str:
    known = list(model.model_fields)
    near = get_close_matches(name, known, 1)
    if near:
        return f", did you mean '{near[0]}'?"
    return f"; known are {', '.join(known)}" if known else "; this call takes none"


class PromoteBody(NoBody):
    """How far."""

    full: bool = False


class ApproveBody(NoBody):
    """To the step; with a reason, to a candidate that is not verified."""

    waive_verification: Waiver | None = None


class AbortBody(NoBody):
    """Why."""

    reason: Text = ""


class RetryBody(NoBody):
    """With or without what was learnt before."""

    fresh_evidence: bool = False
    waive_verification: Waiver | None = None


class UndoBody(NoBody):
    """To which config version; null: the one before."""

    to: Annotated[int, Field(ge=1, lt=2**31)] | None = None


def taken_waiver(body: dict[str, Any]) -> str:
    """``waive_verification`` out of the body of a start; raises InvalidParameterValue."""
    waiver = body.pop("waive_verification", None)
    if waiver is None:
        return ""
    if not isinstance(waiver, str) or not waiver.strip() or len(waiver) > _LONGEST_WAIVER:
        raise InvalidParameterValue(
            f"waive_verification must say in at most {_LONGEST_WAIVER} characters why this version "
            f"may go by its verification."
        )
    return waiver.strip()


def storable(value: object, path: str = "", depth: int = 0) -> None:
    """Raise InvalidParameterValue for JSON that no store could keep and give back unchanged."""
    where = path or "the request body"
    if depth > _DEEPEST:
        raise InvalidParameterValue(f"{where[:80]} is nested too deeply.")
    if isinstance(value, dict):
        for key, each in value.items():
            _check_text(str(key), where)
            storable(each, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            storable(each, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, int | float) and not abs(value) <= _LARGEST:
        raise InvalidParameterValue(f"{where[:80]} is not a number of a sensible size.")


def _check_text(text: str, where: str) -> None:
    where = where[:80].encode("ascii", "backslashreplace").decode()
    if len(text) > 4096:
        raise InvalidParameterValue(f"{where} has more than 4096 characters.")
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise InvalidParameterValue(f"{where} contains a character that is no text.")
