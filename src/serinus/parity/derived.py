"""A contract for a model that came without one, from what MLflow logged with it.

It promises less, and says what: nothing was observed, and no answer is known to be right. It reads
text; it never loads the model.
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from serinus.parity.canonical import ContractForeign
from serinus.parity.contract import (
    FORMAT,
    Contract,
    Coverage,
    Inputs,
    ModelIdentity,
    Origin,
    Outputs,
)
from serinus.parity.folder import (
    DIRECTORY,
    Bundle,
    GoldenRow,
    has_contract,
    model_digest,
)
from serinus.parity.folder import read_bundle as read_bundle_in
from serinus.parity.lock import Distribution, Lock
from serinus.parity.profiles import Profile
from serinus.parity.signature import ModelFile, read_model_file, to_field

__all__ = ["as_found", "derive", "of_model"]

_MAX_EXAMPLE = 1024 * 1024
_MAX_TEXT = 1024 * 1024
_PIN = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*===?\s*([^\s;#,*]+)\s*(?:[;#].*)?"
)


def of_model(model: Path) -> Bundle:
    """The contract in a model's directory, else a derived one.

    Raises InvalidParameterValue, ContractBroken or ContractForeign: a contract that is there and
    can't be trusted is never replaced by a weaker one.
    """
    if has_contract(model):
        return read_bundle_in(model / DIRECTORY, model)
    return derive(model)


def as_found(model: Path) -> tuple[Bundle, ContractForeign | None]:
    """As `of_model`; of another model's contract, that contract and what is wrong with it.

    Where such a one points to says more than nothing does.
    """
    try:
        return of_model(model), None
    except ContractForeign as error:
        return read_bundle_in(model / DIRECTORY), error


def derive(model: Path) -> Bundle:
    """What MLflow's own files promise of a model; raises InvalidParameterValue."""
    file = read_model_file(model)
    golden = _example(model, file)
    lock, exact = _lock(model, file)
    contract = Contract(
        format=FORMAT,
        origin=Origin.DERIVED,
        model=ModelIdentity(digest=model_digest(model), flavor=file.flavor),
        fields=[to_field(each) for each in file.inputs],
        inputs=Inputs(names=[each.name for each in file.inputs], positional=file.tensor),
        outputs=Outputs(method=file.predict, names=[each.name for each in file.outputs]),
        golden=Coverage(rows=len(golden)),
        cannot=_cannot(file, bool(golden), exact),
    )
    return Bundle(contract, Profile(rows=0), lock, golden)


def _cannot(file: ModelFile, example: bool, exact: bool) -> list[str]:
    found = [
        "Nothing was observed in training: neither ranges nor categories nor null rates can be "
        "watched.",
        "No answer is known to be right: requests can be replayed, their answers not judged.",
        "No stage was recorded: where serving differs from training can't be located.",
        "When features are known was not said: leaks and stale values can't be found.",
    ]
    if not file.inputs:
        found.append("The model has no signature: its fields and their types are not known.")
    if not example:
        found.append("The model has no input example: there is no request to replay.")
    if not exact:
        found.append("Not every requirement is pinned: the environment of training is not known.")
    return found


def _example(model: Path, file: ModelFile) -> tuple[GoldenRow, ...]:
    saved = file.document.get("saved_input_example_info") or {}
    name = saved.get("serving_input_path") if isinstance(saved, dict) else None
    if not isinstance(name, str):
        return ()
    path = (model / name).resolve()
    if not path.is_relative_to(model.resolve()) or not path.is_file():
        return ()
    if path.stat().st_size > _MAX_EXAMPLE:
        return ()
    try:
        # MLflow writes missing numbers as NaN, which is no JSON; here they become null.
        content = json.loads(path.read_bytes(), parse_constant=lambda _: None)
        body = msgspec.json.encode(content).decode()
    except (ValueError, RecursionError):
        return ()
    return (GoldenRow(body=body, rows=_rows(content), covers=["input example"]),)


def _rows(content: Any) -> int:
    """How many rows a request's body has; 1 when it is not of a form that has rows."""
    if not isinstance(content, dict):
        return 1
    split = content.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        return len(split["data"])
    for form in ("dataframe_records", "instances", "inputs"):
        if isinstance(content.get(form), list):
            return len(content[form])
    return 1


def _lock(model: Path, file: ModelFile) -> tuple[Lock, bool]:
    """What was logged of the environment, and whether all of it is pinned."""
    pins: dict[str, Distribution] = {}
    exact = True
    lines = [line.strip() for line in _text(model / "requirements.txt").splitlines()]
    for line in lines:
        if not line or line.startswith("#"):
            continue
        match = _PIN.fullmatch(line)
        if match is None:
            exact = False
        else:
            key = match[1].lower().replace("_", "-").replace(".", "-")
            pins[key] = Distribution(match[2])
    pyfunc = file.flavors.get("python_function")
    python = str(pyfunc.get("python_version") or "") if isinstance(pyfunc, dict) else ""
    if not python:
        found = re.search(r"^python:\s*(\S+)", _text(model / "python_env.yaml"), re.MULTILINE)
        python = found[1] if found else ""
    return Lock(python=python, distributions=pins, source="requirements"), exact and bool(pins)


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > _MAX_TEXT:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")
