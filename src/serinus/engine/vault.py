"""Secrets that environment variables refer to as ``{{secrets/scope/key}}``: one file for each.

A value is read when a replica starts and handed to its process alone; it must never come into an
error, a log or the store.
"""

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from serinus.errors import InvalidParameterValue, ResourceDoesNotExist

__all__ = ["SECRET", "Kept", "Vault"]

#: A reference to a secret, which is no secret itself. It is the whole value or none of it.
SECRET = re.compile(r"\{\{\s*secrets/([\w.@-]{1,128})/([\w.@-]{1,128})\s*\}\}", re.ASCII)
_MEANT = re.compile(r"\{\{\s*secrets/")
_NAME = re.compile(r"[\w.@-]{1,128}", re.ASCII)
#: As long as a variable may be on any system.
_MAX_VALUE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """One secret, without its value."""

    scope: str
    key: str
    changed_at: datetime


class Vault:
    """The files ``directory/scope/key``. They may be put there by `put` or by anything else.

    A volume of Kubernetes' secrets has just that form.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def resolved(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables with each reference replaced; raises InvalidParameterValue that names it.

        Other values stay as they are.
        """
        return {name: self._value(name, text) for name, text in variables.items()}

    def put(self, scope: str, key: str, value: str) -> None:
        """Keep a secret, or replace it; raises OSError."""
        _check_name(scope, "scope")
        _check_name(key, "key")
        if not value or len(value.encode()) > _MAX_VALUE or "\0" in value:
            raise InvalidParameterValue(
                f"The value of a secret must be a text of 1 to {_MAX_VALUE} bytes without a zero "
                "byte."
            )
        directory = self._directory / scope
        for each in (self._directory, directory):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=directory)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(directory / key)

    def delete(self, scope: str, key: str) -> None:
        """Forget a secret; raises ResourceDoesNotExist."""
        _check_name(scope, "scope")
        _check_name(key, "key")
        try:
            (self._directory / scope / key).unlink()
        except FileNotFoundError:
            raise ResourceDoesNotExist(f"There is no secret {scope}/{key}.") from None

    def all(self) -> list[Kept]:
        """Every secret there is, by name."""
        return [
            Kept(each.parent.name, each.name, datetime.fromtimestamp(each.stat().st_mtime, UTC))
            for each in sorted(self._directory.glob("*/*"))
            if all(map(_is_name, each.parts[-2:])) and each.is_file()
        ]

    def _value(self, name: str, text: str) -> str:
        reference = SECRET.fullmatch(text)
        if reference is None:
            if _MEANT.search(text) is None:
                return text
            raise InvalidParameterValue(
                f"environment_vars: the value of {name} holds a reference to a secret that can't "
                "be read; write {{secrets/scope/key}} and nothing else, of letters, digits and "
                "._@- alone."
            )
        scope, key = reference.groups()
        if not (_is_name(scope) and _is_name(key)):
            raise self._unknown(name, scope, key)
        path = self._directory / scope / key
        try:
            found = path.stat()
            content = path.read_bytes()
        except OSError as error:
            raise self._unknown(name, scope, key, error) from None
        if found.st_mode & stat.S_IRWXO:
            raise InvalidParameterValue(
                f"environment_vars: the file of the secret {scope}/{key}, which {name} refers to, "
                "is open to every user of the machine. Whoever runs this server can close it: "
                f"chmod 600 {scope}/{key}."
            )
        # What an editor or `echo` leaves at the end is no part of it.
        value = content.decode("utf-8", "surrogateescape").removesuffix("\n")
        if not value or len(content) > _MAX_VALUE or "\0" in value:
            raise InvalidParameterValue(
                f"environment_vars: the secret {scope}/{key}, which {name} refers to, is empty, "
                f"over {_MAX_VALUE} bytes or holds a zero byte."
            )
        return value

    def _unknown(
        self, name: str, scope: str, key: str, error: OSError | None = None
    ) -> InvalidParameterValue:
        why = "" if error is None else f" ({error.strerror})"
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            why = ""
        return InvalidParameterValue(
            f"environment_vars: {name} refers to the secret {scope}/{key}, which this server does "
            f"not have{why}. Whoever runs it can add it: serinus secret put {scope} {key}."
        )


def _is_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) and not text.startswith(".")


def _check_name(text: str, what: str) -> None:
    if not _is_name(text):
        raise InvalidParameterValue(
            f"The {what} of a secret must be 1 to 128 letters, digits and ._@- and must not begin "
            f"with a dot; {text[:80]!r} is not."
        )
