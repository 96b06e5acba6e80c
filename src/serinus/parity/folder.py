"""The five files of a contract in a model's ``contract`` directory: written whole, read strictly.

A contract is read only as it was written, and only for the model that it was written for.
"""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from serinus.errors import InvalidParameterValue, ResourceDoesNotExist
from serinus.parity.arrays import StageValues, pack, unpack
from serinus.parity.canonical import (
    MAX_DOCUMENT,
    ContractBroken,
    ContractForeign,
    canonical,
    decode,
    sha256,
)
from serinus.parity.contract import (
    FORMAT,
    Contract,
    FileEntry,
    contract_id,
    read_contract_bytes,
)
from serinus.parity.lock import Lock, read_lock_bytes
from serinus.parity.profiles import Profile, read_profile_bytes
from serinus.parity.signature import read_model_file

__all__ = [
    "DIRECTORY",
    "FILES",
    "Bundle",
    "GoldenRow",
    "has_contract",
    "model_digest",
    "read_bundle",
    "read_golden",
    "write_bundle",
]

#: Where in a model's directory its contract lies.
DIRECTORY = "contract"
FILES = ("contract.json", "profile.json", "golden.jsonl", "golden_stages.npz", "env.json")
_LEFT_OUT = frozenset({DIRECTORY, "__pycache__", "registered_model_meta"})
#: Parts of ``MLmodel`` that decide what a model does; ids and dates change when it is logged again.
_DECIDES = ("flavors", "signature", "type_hint_from_example", "is_signature_from_type_hint")
_MAX_ROWS = 4096


class GoldenRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request of the golden set; its place is that of its row in each stage."""

    #: The request's body, byte for byte (UTF-8).
    body: str
    content_type: str = "application/json"
    #: Rows in the body.
    rows: int = 1
    #: The cases that it is here for.
    covers: list[str] = []
    #: True when no such row was in training: a case was put into another row.
    made: bool = False
    #: What the label was.
    label: int | float | str | bool | None = None
    #: Source → field → value, for fields that don't come with the request.
    pinned: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Bundle:
    """A whole contract, as in memory so on disk."""

    contract: Contract
    profile: Profile
    lock: Lock
    golden: tuple[GoldenRow, ...] = ()
    #: Stage → columns of expected values, one for each golden row.
    stages: dict[str, StageValues] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The contract's id."""
        return contract_id(self.contract)


def has_contract(model: Path) -> bool:
    """True when a contract lies in the model's directory."""
    return (model / DIRECTORY / "contract.json").is_file()


def write_bundle(bundle: Bundle, target: Path, model: Path | None = None) -> Bundle:
    """Write the files into ``target``, all or none; returns the bundle as it was written.

    ``model`` is the directory of the model that the contract is bound to. An older contract in
    ``target`` is replaced; a directory with anything else in it is left alone.
    Raises InvalidParameterValue.
    """
    if target.exists() and {each.name for each in target.iterdir()} - set(FILES):
        raise InvalidParameterValue(
            f"{target} holds other things than a contract; name a new directory for it."
        )
    contents = {
        "profile.json": canonical(bundle.profile),
        "golden.jsonl": b"".join(canonical(row) + b"\n" for row in bundle.golden),
        "golden_stages.npz": pack(bundle.stages),
        "env.json": canonical(bundle.lock),
    }
    identity = bundle.contract.model
    if model is not None:
        identity = msgspec.structs.replace(identity, digest=model_digest(model))
    files = {name: FileEntry(sha256=sha256(c), size=len(c)) for name, c in contents.items()}
    contract = msgspec.structs.replace(bundle.contract, model=identity, files=files)
    contents["contract.json"] = canonical(contract)
    # What can't be read again must not be written.
    read_contract_bytes(contents["contract.json"])
    read_profile_bytes(contents["profile.json"])
    _rows(contents["golden.jsonl"])
    _publish(contents, target)
    return replace(bundle, contract=contract)


def _publish(contents: dict[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for name, content in contents.items():
            with (scratch / name).open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        scratch.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_bundle(directory: Path, model: Path | None = None) -> Bundle:
    """Read a contract's directory; with ``model``, only if it belongs to the model there.

    Raises ResourceDoesNotExist, ContractBroken or ContractForeign.
    """
    contract = _contract(directory)
    contents = {name: _checked(directory, name, contract) for name in FILES[1:]}
    bundle = Bundle(
        contract=contract,
        profile=read_profile_bytes(contents["profile.json"]),
        lock=read_lock_bytes(contents["env.json"]),
        golden=_rows(contents["golden.jsonl"]),
        stages=unpack(contents["golden_stages.npz"], contract.stages),
    )
    _check_lengths(bundle)
    if model is not None:
        _check_owner(contract, model)
    return bundle


def read_golden(directory: Path) -> tuple[Contract, tuple[GoldenRow, ...]]:
    """The contract and its golden requests, without what is expected of them; for a replica.

    Raises ResourceDoesNotExist or ContractBroken.
    """
    contract = _contract(directory)
    return contract, _rows(_checked(directory, "golden.jsonl", contract))


def _contract(directory: Path) -> Contract:
    if not (directory / "contract.json").is_file():
        raise ResourceDoesNotExist(
            f"There is no contract in {directory}; make one with: serinus contract capture"
        )
    contract = read_contract_bytes(_content(directory, "contract.json"))
    if contract.format != FORMAT:
        raise ContractBroken(
            f"The contract in {directory} has format {contract.format}; this version of Serinus "
            f"reads format {FORMAT}. Capture it again, or use the version that wrote it."
        )
    return contract


def _content(directory: Path, name: str) -> bytes:
    path = directory / name
    try:
        size = path.stat().st_size
        if size > MAX_DOCUMENT:
            raise ContractBroken(f"{name} has {size} bytes; at most {MAX_DOCUMENT} are read.")
        return path.read_bytes()
    except OSError as error:
        raise ContractBroken(
            f"{name} in {directory} can't be read ({error.strerror}); capture the contract again."
        ) from error


def _checked(directory: Path, name: str, contract: Contract) -> bytes:
    entry = contract.files.get(name)
    if entry is None:
        raise ContractBroken(f"contract.json doesn't name {name}; capture the contract again.")
    content = _content(directory, name)
    if len(content) != entry.size or sha256(content) != entry.sha256:
        raise ContractBroken(
            f"{name} is not the file that contract.json was written with: it has {len(content)} "
            f"bytes, {entry.size} were expected, or its SHA-256 differs. Copy the whole directory "
            "again, or capture the contract again."
        )
    return content


def _rows(content: bytes) -> tuple[GoldenRow, ...]:
    lines = content.split(b"\n")
    if lines.pop() or len(lines) > _MAX_ROWS:
        raise ContractBroken(
            f"golden.jsonl is cut off or has more than {_MAX_ROWS} rows; capture it again."
        )
    return tuple(
        decode(line, GoldenRow, f"golden.jsonl, line {at}") for at, line in enumerate(lines, 1)
    )


def _check_lengths(bundle: Bundle) -> None:
    rows = sum(row.rows for row in bundle.golden)
    for name, columns in bundle.stages.items():
        for values in columns:
            if len(values) != rows:
                raise ContractBroken(
                    f"Stage {name} has {len(values)} rows for {rows} golden rows; capture the "
                    "contract again."
                )


def _check_owner(contract: Contract, model: Path) -> None:
    found = model_digest(model)
    if contract.model.digest != found:
        bound = (
            f"to the model {contract.model.digest[:12]}…" if contract.model.digest else "to none"
        )
        raise ContractForeign(
            f"The contract belongs {bound}; the files in {model} are {found[:12]}…. Capture a "
            "contract for this model, or put the right one beside it."
        )


def model_digest(model: Path) -> str:
    """What identifies a model for its contract: all files but the contract's own.

    Of ``MLmodel`` only what decides how it answers counts, so that logging the same files again
    gives the same digest. Raises InvalidParameterValue when there is no model.
    """
    document = read_model_file(model).document
    decides = {key: document.get(key) for key in _DECIDES}
    whole = hashlib.sha256(msgspec.json.encode(_texts(decides), order="deterministic"))
    for path in sorted(model.rglob("*"), key=lambda each: each.relative_to(model).as_posix()):
        parts = path.relative_to(model).parts
        if path.is_file() and parts != ("MLmodel",) and not _LEFT_OUT.intersection(parts):
            whole.update("/".join(parts).encode("utf-8", "surrogateescape") + b"\0")
            content = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    content.update(chunk)
            whole.update(content.digest())
    return whole.hexdigest()


def _texts(value: Any) -> Any:
    """YAML may give dates and other things; their text is as good."""
    if isinstance(value, dict):
        return {str(key): _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
