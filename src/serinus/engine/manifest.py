"""What a model directory says about itself: requirement lines and Python version.

Reads text and YAML only; never imports, unpickles or runs anything of the model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serinus.errors import InvalidParameterValue

__all__ = ["CONSTRAINT", "Manifest", "read_manifest"]

#: Marks a line that limits versions but asks for nothing, e.g. ``--constraint numpy<2``.
CONSTRAINT = "--constraint "

_MAX_TEXT = 8 * 1024 * 1024
_MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class Manifest:
    """The requirements that were logged with a model."""

    requirements: tuple[str, ...]
    #: ``3.11.7``, or empty when the model does not say.
    python_version: str


def read_manifest(directory: Path) -> Manifest:
    """Read ``MLmodel`` with ``requirements.txt``, else ``python_env.yaml``, else ``conda.yaml``.

    Files named by ``-r`` are read in place; the lines of files named by ``-c`` come back with the
    prefix `CONSTRAINT`. Raises InvalidParameterValue when ``MLmodel`` is missing or unreadable.
    """
    if not (directory / "MLmodel").is_file():
        raise InvalidParameterValue(
            f"There is no MLmodel file in {directory}; name the directory that mlflow saved the "
            "model into."
        )
    flavor = _mapping(_mapping(_yaml(directory, "MLmodel").get("flavors")).get("python_function"))
    names = flavor.get("env")
    virtualenv = _mapping(names).get("virtualenv")
    conda = names if isinstance(names, str) else _mapping(names).get("conda")
    python_env = _yaml_if_inside(directory, virtualenv, "python_env.yaml")
    conda_env = _yaml_if_inside(directory, conda, "conda.yaml")
    conda_lines = _strings(conda_env.get("dependencies"))
    return Manifest(
        requirements=_requirements(directory, python_env, conda_env),
        python_version=str(
            python_env.get("python")
            or flavor.get("python_version")
            or next((e.split("=")[-1] for e in conda_lines if e.startswith("python=")), "")
        ),
    )


def _requirements(
    directory: Path, python_env: dict[str, Any], conda_env: dict[str, Any]
) -> tuple[str, ...]:
    if (directory / "requirements.txt").is_file():
        return _lines(directory, "-r requirements.txt", 0)
    sources = _strings(python_env.get("dependencies"))
    if not sources:
        dependencies = conda_env.get("dependencies")
        for each in dependencies if isinstance(dependencies, list) else []:
            sources += _strings(_mapping(each).get("pip"))
    return tuple(line for each in sources for line in _lines(directory, each, 0))


def _lines(directory: Path, line: str, depth: int) -> tuple[str, ...]:
    """One logged line, with files that it refers to read in its place."""
    for flags, prefix in ((("-r", "--requirement"), ""), (("-c", "--constraint"), CONSTRAINT)):
        flag, _, name = line.replace("=", " ", 1).partition(" ")
        if flag not in flags or depth > _MAX_NESTING:
            continue
        text = _text_inside(directory, name.strip())
        if text is None:
            return (line,)  # left as it is: the builder will say that the file is missing
        found = [e for part in _logical(text) for e in _lines(directory, part, depth + 1)]
        return tuple(e if e.startswith(CONSTRAINT) else prefix + e for e in found)
    return (line,)


def _logical(text: str) -> list[str]:
    """Requirement lines without comments and with continued lines joined."""
    joined = text.replace("\\\r\n", " ").replace("\\\n", " ")
    stripped = (_without_comment(line) for line in joined.splitlines())
    return [line for line in stripped if line]


def _without_comment(line: str) -> str:
    # A '#' inside a URL belongs to it (fragments); pip asks for white space before a comment.
    return "" if line.lstrip().startswith("#") else line.split(" #")[0].strip()


def _text_inside(directory: Path, name: str) -> str | None:
    """The text of a file that really lies inside the directory, else None."""
    path = (directory / name).resolve()
    if not path.is_relative_to(directory.resolve()) or not path.is_file():
        return None
    if path.stat().st_size > _MAX_TEXT:
        raise InvalidParameterValue(f"{path} is larger than {_MAX_TEXT} bytes.")
    return path.read_text(encoding="utf-8", errors="replace")


def _yaml(directory: Path, name: str) -> dict[str, Any]:
    text = _text_inside(directory, name)
    if text is None:
        return {}
    try:
        return _mapping(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidParameterValue(
            f"{directory / name} is not readable YAML ({line}); log the model again with mlflow."
        ) from error


def _yaml_if_inside(directory: Path, name: object, default: str) -> dict[str, Any]:
    return _yaml(directory, name if isinstance(name, str) and name else default)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
