"""Where what was found out of models is kept, and for how long after its last replica started.

It keeps what replicas write there and never reads it; all of it can be found out again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from serinus.engine.engine import ReplicaSpec
from serinus.engine.scratch import remove

__all__ = ["Forms", "forms_path"]

#: Whoever goes back to an older version usually does so within this time.
_GRACE = timedelta(days=7)


class Forms:
    """``home/forms``: one directory for all that can change what is found out."""

    def __init__(self, home: Path, clock: Callable[[], datetime]) -> None:
        self._home = home
        self._clock = clock

    def place(self, spec: ReplicaSpec, running: Iterable[ReplicaSpec] = ()) -> Path:
        """The directory for a replica that starts, which counts as its use.

        What neither it nor the ``running`` ones use, nor anybody has for days, is removed.
        """
        path = forms_path(self._home, spec)
        now = self._clock().timestamp()
        with suppress(OSError):  # it is not there yet; its replica makes it
            os.utime(path, (now, now))
        used = {path, *(forms_path(self._home, each) for each in running)}
        for each in self._found():
            with suppress(OSError):
                if each not in used and now - each.stat().st_mtime > _GRACE.total_seconds():
                    remove(each)
        return path

    def _found(self) -> list[Path]:
        try:
            return list((self._home / "forms").iterdir())
        except OSError:
            return []


def forms_path(home: Path, spec: ReplicaSpec) -> Path:
    """Where what is found out of a model is kept: by all that can change it."""
    parts = [
        spec.model_digest,
        spec.environment.digest,
        spec.environment.python,
        sorted(spec.env_vars.items()),
        spec.intake.value,
        spec.optimize.value,
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return home / "forms" / digest
