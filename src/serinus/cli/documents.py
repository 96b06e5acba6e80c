"""Reads files with ``kind: Rollout`` documents. It checks them here, before any server is asked."""

import sys
from pathlib import Path
from typing import Any

import typer

from serinus.errors import SerinusError

__all__ = ["check", "documents_in", "one_document"]


def documents_in(path: Path) -> list[dict[str, Any]]:
    """Every YAML or JSON document of the file (``-``: standard input), none of them empty.

    Raises typer.BadParameter.
    """
    # A parser of YAML is needed by no other command.
    import yaml  # noqa: PLC0415

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        found = [each for each in yaml.safe_load_all(text) if each is not None]
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{path} is neither YAML nor JSON: {error}") from error
    for each in found:
        if not isinstance(each, dict):
            raise typer.BadParameter(f"{path} holds a document that is no mapping: {each!r:.80}")
    if not found:
        raise typer.BadParameter(f"{path} is empty")
    return [_worded(each) for each in found]


def one_document(path: Path) -> dict[str, Any]:
    """The only document of the file; raises typer.BadParameter."""
    found = documents_in(path)
    if len(found) > 1:
        raise typer.BadParameter(
            f"{path} holds {len(found)} documents; send them all with: serinus apply -f {path}"
        )
    return found[0]


def check(spec: dict[str, Any], what: str) -> None:
    """Raise typer.BadParameter for a spec that no server would take.

    One that names no strategy gets that of the endpoint's policy, which only the server knows.
    """
    # Together they cost every other command some milliseconds.
    from serinus.rollout.parse import parse_spec  # noqa: PLC0415
    from serinus.rollout.spec import Strategy  # noqa: PLC0415

    wrong: SerinusError | None = None
    for strategy in Strategy:
        try:
            parse_spec({"strategy": strategy.value, **spec})
        except SerinusError as error:
            wrong = wrong or error
        else:
            return
    raise typer.BadParameter(f"{what}: {wrong.message if wrong else 'it is no rollout'}")


def _worded(value: Any) -> Any:
    """The value with every key a text; YAML 1.1 reads the key ``on`` as the truth."""
    if isinstance(value, dict):
        return {("on" if key is True else str(key)): _worded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_worded(each) for each in value]
    return value
