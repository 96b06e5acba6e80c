"""Turns ``models:/m/1=90`` arguments or a file into an endpoint's config. Never calls a server."""

import json
import re
from pathlib import Path
from typing import Any

import typer

__all__ = ["config_from_arguments", "config_from_file"]

_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


def config_from_arguments(served: list[str]) -> dict[str, Any]:
    """The config for ``URI=PERCENT`` arguments; one URI alone gets all traffic.

    Raises typer.BadParameter unless the percentages are whole and sum to 100.
    """
    parsed = [_parse(each) for each in served]
    if len(parsed) == 1 and parsed[0][1] is None:
        parsed = [(parsed[0][0], 100)]
    unsplit = [uri for uri, percent in parsed if percent is None]
    if unsplit:
        raise typer.BadParameter(f"say how much traffic {unsplit[0]} gets, e.g. {unsplit[0]}=10")
    total = sum(percent or 0 for _, percent in parsed)
    if total != 100:
        raise typer.BadParameter(f"the traffic percentages sum to {total}, not to 100")
    entities: list[dict[str, Any]] = []
    for uri, _ in parsed:
        entities.append(_entity(uri, {each["name"] for each in entities}))
    routes = [
        {"served_model_name": entity["name"], "traffic_percentage": percent}
        for entity, (_, percent) in zip(entities, parsed, strict=True)
    ]
    return {"served_entities": entities, "traffic_config": {"routes": routes}}


def config_from_file(path: Path) -> dict[str, Any]:
    """The config in a JSON file: either the config itself or a whole create request."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}") from error
    config = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(config, dict) or not (
        config.get("served_entities") or config.get("served_models")
    ):
        raise typer.BadParameter(f"{path} holds no object with served_entities")
    return config


def _parse(argument: str) -> tuple[str, int | None]:
    """The URI and the percentage in one argument."""
    uri, equals, percent = argument.rpartition("=")
    if not equals or Path(argument).exists():
        return argument, None
    if not re.fullmatch(r"\d{1,3}", percent) or int(percent) > 100 or not uri:
        raise typer.BadParameter(
            f"{argument!r} is not URI=PERCENT with a whole percentage from 0 to 100"
        )
    return uri, int(percent)


def _entity(uri: str, taken: set[str]) -> dict[str, Any]:
    """A served entity with a name of its own, as the API would choose it where it can."""
    registered = _REGISTERED.fullmatch(uri)
    if registered:
        entity = {"entity_name": registered["name"], "entity_version": registered["version"]}
        stem = f"{registered['name'].rsplit('.', 1)[-1]}-{registered['version']}"
    else:
        # The server may have another working directory than this command.
        here = "://" not in uri and ":/" not in uri
        entity = {"entity_name": str(Path(uri).absolute()) if here else uri}
        # A scoring URL is called after the endpoint in its path.
        stem = uri.rstrip("/").removesuffix("/invocations").rsplit("/", 1)[-1]
    name = stem = _UNFIT.sub("-", stem).strip("-") or "model"
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return {"name": name, **entity}
