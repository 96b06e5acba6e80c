"""Names: which are allowed, and which one a served entity gets when the client gives none."""

import re

from serinus.errors import InvalidParameterValue

__all__ = ["MAX_NAME", "checked_name", "default_served_name", "endpoint_name", "is_uri"]

MAX_NAME = 63

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|/")
#: The start of a run id that tells two runs apart for people.
_RUN_ID = 8


def checked_name(name: str, what: str) -> str:
    """The name itself; raises InvalidParameterValue for one that could not stand in a path."""
    if not _NAME.fullmatch(name):
        raise InvalidParameterValue(
            f"{what} {name[:80]!r} is not allowed. Use 1 to {MAX_NAME} letters, digits, hyphens "
            f"and underscores."
        )
    return name


def endpoint_name(name: str) -> str:
    """A name for a new endpoint; raises InvalidParameterValue.

    ``databricks-`` is refused as it is there: whoever moves between the two keeps every name.
    """
    checked_name(name, "The endpoint name")
    if name.lower().startswith("databricks-"):
        raise InvalidParameterValue(
            f"The endpoint name {name!r} starts with 'databricks-', which is reserved. "
            f"Choose another name."
        )
    return name


def is_uri(entity_name: str) -> bool:
    """True for ``models:/m@champion``, ``runs:/…``, ``s3://…`` and absolute paths."""
    return bool(_URI.match(entity_name))


def default_served_name(entity_name: str, version: str) -> str:
    """``main.ml.fraud`` 3 → ``fraud-3``; ``models:/fraud@champion`` → ``fraud-champion``.

    A scoring URL is called after the endpoint in its path, else after its host.
    """
    if not is_uri(entity_name):
        return _clean(f"{_last_of(entity_name)}-{version}")
    scheme, _, rest = entity_name.rpartition(":/") if ":/" in entity_name else ("", "", entity_name)
    parts = [part for part in rest.split("/") if part]
    if not parts:
        return "model"
    if scheme in ("http", "https"):
        path = [part for part in parts[1:] if part != "invocations"]
        return _clean(path[-1] if path else parts[0])
    if scheme == "models":
        named = "-".join(parts) if len(parts) > 1 else parts[0].replace("@", "-")
        return _clean(_last_of(named) if "." in parts[0] else named)
    if scheme == "runs" and len(parts) > 1:
        return _clean(f"{parts[-1]}-{parts[0][:_RUN_ID]}")
    return _clean(parts[-1])


def _last_of(dotted: str) -> str:
    return dotted.rsplit(".", 1)[-1]


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:MAX_NAME].strip("-") or "model"
