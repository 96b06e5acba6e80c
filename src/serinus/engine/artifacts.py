"""The content-addressed store of model files: ``models/<digest>/``, read-only once it is there.

It copies bytes and hashes them; it must never import, unpickle or run anything of a model.

The digest is the SHA-256 (hex) of one line for each regular file, sorted by path as bytes:
``<posix relative path> NUL <size in decimal> NUL <SHA-256 of the content, hex> LF``. Modes, times
and empty directories do not count. ``__pycache__`` and ``registered_model_meta`` (which mlflow adds
when it downloads by name) are left out, so one model has one digest whichever way it came.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from serinus.engine.manifest import read_manifest
from serinus.engine.scratch import remove, scratch, sweep
from serinus.entities import ModelRef
from serinus.errors import (
    InternalError,
    InvalidParameterValue,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
)
from serinus.replica.pinned import LEFT_OUT, digest_of_entries

__all__ = ["ModelCorrupt", "ModelStore", "StoreFull", "digest_of"]

_CHUNK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ModelCorrupt(InternalError):
    """The stored files of a model are no longer those that were pinned."""


class StoreFull(TemporarilyUnavailable):
    """There is no room left for a model."""


class ModelStore:
    """Models under ``home/models``. Safe for any number of processes at once."""

    def __init__(self, home: Path) -> None:
        #: Holds one directory a model; names that begin with a dot are work in progress.
        self.root = home / "models"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def sweep(self) -> int:
        """Remove what crashed processes left, and say how much. For the start of a server."""
        return sweep(self.root)

    def add(self, directory: Path) -> str:
        """Copy a model directory in and return its digest. Idempotent; heals a damaged copy.

        Raises InvalidParameterValue for a directory that is no model or can't be copied safely,
        StoreFull when the disk is full. Leaves nothing half-written behind.
        """
        if not directory.is_dir():
            raise InvalidParameterValue(
                f"{directory} is not a directory; name the directory that mlflow saved the model "
                "into."
            )
        if self.root.resolve().is_relative_to(directory.resolve()):
            raise InvalidParameterValue(
                f"{self.root} lies inside the model {directory}; choose another home or move the "
                "model to a directory of its own."
            )
        read_manifest(directory)  # refuses what is not an mlflow model, before anything is copied
        try:
            with scratch(self.root, ".adding-") as staging:
                digest = digest_of_entries(
                    (name, *_copy(source, staging / name)) for name, source in _files(directory)
                )
                _seal(staging)
                self._publish(staging, digest)
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull(
                    f"There is no room for the model {directory} in {self.root} "
                    f"({error.strerror}); free some space there or choose another home."
                ) from error
            raise InvalidParameterValue(
                f"The model {directory} can't be copied to {self.root}: {error}."
            ) from error
        return digest

    def path(self, digest: str) -> Path:
        """The read-only directory of a pinned model; raises ResourceDoesNotExist."""
        path = self.root / digest
        if not _is_digest(digest) or not path.is_dir():
            raise ResourceDoesNotExist(
                f"The model {digest!r} is not in {self.root}; resolve its URI again."
            )
        return path

    def verify(self, digest: str) -> None:
        """Hash all files again; raises ModelCorrupt or ResourceDoesNotExist."""
        path = self.path(digest)
        try:
            found = digest_of(path)
        except (OSError, InvalidParameterValue) as error:
            raise ModelCorrupt(f"The model {digest} in {path} can't be read: {error}.") from error
        if found != digest:
            raise ModelCorrupt(
                f"The files in {path} were changed: they hash to {found[:12]}…, not to "
                f"{digest[:12]}…; add the model again from its source to repair the copy."
            )

    def ref(self, digest: str, *, uri: str, resolved: str) -> ModelRef:
        """The pinned model as a value, with what it says of its requirements."""
        manifest = read_manifest(self.path(digest))
        return ModelRef(digest, uri, resolved, manifest.requirements, manifest.python_version)

    def _publish(self, staging: Path, digest: str) -> None:
        """Put a complete copy in its place; another process may have been faster."""
        target = self.root / digest
        for _ in range(2):
            try:
                staging.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                _sync_directory(self.root)
                return
            try:
                self.verify(digest)
            except ResourceDoesNotExist:
                continue
            except ModelCorrupt:
                remove(target)
            else:
                return


def digest_of(directory: Path) -> str:
    """The digest of a directory as it is now; see the top of this module for what it covers."""
    return digest_of_entries((name, *_copy(source, None)) for name, source in _files(directory))


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(each in "0123456789abcdef" for each in text)


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Each regular file as (posix relative path, path to open)."""
    root = directory.resolve()
    yield from _walk(root, "", (root,))


def _walk(directory: Path, prefix: str, inside: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    with os.scandir(directory) as scan:
        entries = list(scan)
    for entry in entries:
        name = prefix + entry.name
        if entry.name in LEFT_OUT:
            continue
        path = Path(entry.path)
        if entry.is_symlink():
            path = _target(path, name, inside)
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(path, name + "/", (*inside, path.resolve()))
        elif stat.S_ISREG(mode):
            yield name, path
        else:
            raise InvalidParameterValue(
                f"{name} in {inside[0]} is neither a file nor a directory; remove it."
            )


def _target(link: Path, name: str, inside: tuple[Path, ...]) -> Path:
    """Where a symbolic link leads; refused when outside of the model, missing, or a loop."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InvalidParameterValue(
            f"{name} in {inside[0]} is a symbolic link that leads nowhere; replace it by the file."
        ) from error
    if not target.is_relative_to(inside[0]):
        raise InvalidParameterValue(
            f"{name} in {inside[0]} is a symbolic link that leaves the model's directory; "
            "replace it by the file itself."
        )
    if target in inside:
        raise InvalidParameterValue(f"{name} in {inside[0]} is a symbolic link to its own parent.")
    return target


def _copy(source: Path, target: Path | None) -> tuple[int, str]:
    """Copy one file durably (or only read it) and return (size, SHA-256) of what was read."""
    content, size = hashlib.sha256(), 0
    with source.open("rb") as reading:
        if target is None:
            while chunk := reading.read(_CHUNK):
                content.update(chunk)
                size += len(chunk)
            return size, content.hexdigest()
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as writing:
            while chunk := reading.read(_CHUNK):
                content.update(chunk)
                size += writing.write(chunk)
            writing.flush()
            os.fsync(writing.fileno())
    return size, content.hexdigest()


def _seal(directory: Path) -> None:
    """Make a tree read-only and durable."""
    for folder, _, files in os.walk(directory, topdown=False):
        for name in files:
            Path(folder, name).chmod(0o444)
        Path(folder).chmod(0o555)
        _sync_directory(Path(folder))


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
