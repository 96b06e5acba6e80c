"""Documents with ``kind: Endpoint``: checked whole here, before any server is asked."""

from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, get_args

import typer

from serinus.errors import SerinusError

__all__ = ["checked_endpoint"]

#: What a document may say beside the body of a create.
_OURS = frozenset({"kind", "policy"})
#: No config that is only checked has a moment.
_NEVER = datetime(2026, 1, 1, tzinfo=UTC)


def checked_endpoint(document: dict[str, Any], what: str) -> dict[str, Any]:
    """The document with its tags as a list; raises typer.BadParameter for what no server takes."""
    # pydantic and the shapes of requests are needed by no other command.
    from pydantic import ValidationError  # noqa: PLC0415

    from serinus.api.naming import endpoint_name  # noqa: PLC0415
    from serinus.api.schemas import CreateEndpoint  # noqa: PLC0415
    from serinus.api.wishes import config_from  # noqa: PLC0415

    wanted = dict(document)
    if "tags" in document:
        wanted["tags"] = _tags(document["tags"], what)
    for path, slip, known in _strangers(CreateEndpoint, wanted, "", _OURS):
        near = get_close_matches(slip, sorted(known), 1)
        told = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
        raise typer.BadParameter(f"{what}: {path}{slip} is not known{told}")
    policy = document.get("policy")
    if policy is not None and not isinstance(policy, dict):
        raise typer.BadParameter(f"{what}: policy must be a mapping")
    try:
        body = CreateEndpoint.model_validate(
            {key: value for key, value in wanted.items() if key not in _OURS}
        )
        endpoint_name(body.name)
        config_from(body.config, version=1, creator="", at=_NEVER)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = "is missing" if first["type"] == "missing" else first["msg"]
        raise typer.BadParameter(f"{what}: {where}: {said}") from error
    except SerinusError as error:
        raise typer.BadParameter(f"{what}: {error.message}") from error
    return wanted


def _tags(value: Any, what: str) -> list[Any]:
    """Tags as a list; a mapping is shorter to write."""
    if isinstance(value, dict):
        return [{"key": key, "value": str(each)} for key, each in value.items()]
    if value is not None and not isinstance(value, list):
        raise typer.BadParameter(f"{what}: tags must be a mapping such as {{team: risk}}")
    return value or []


def _strangers(
    model: Any, value: Any, path: str, more: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str, set[str]]]:
    """Keys that a document has and the model does not know: path, key, and what it knows."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from _strangers(model, each, f"{path[:-1]}[{number}].")
    if not isinstance(value, dict):
        return
    known = model.known() | more
    for key, each in value.items():
        if key not in known:
            yield path, key, known
        elif (field := model.model_fields.get(key)) is not None:
            for inner in _models(field.annotation):
                yield from _strangers(inner, each, f"{path}{key}.")


def _models(annotation: Any) -> Iterator[Any]:
    """The shapes inside of a type such as ``list[Shape] | None``."""
    if hasattr(annotation, "known"):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)
