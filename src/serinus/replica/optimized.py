"""`optimize: onnx`: converts a model once, compares it with the original, loads what agrees.

The conversion happens in a process of its own, whose memory goes with it. Whatever goes wrong, the
original serves, and the standing says why.
"""

import contextlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from serinus.entities import Reading
from serinus.errors import SerinusError, described
from serinus.parity.contract import Contract
from serinus.parity.folder import (
    DIRECTORY,
    Bundle,
    GoldenRow,
    has_contract,
    read_bundle,
    read_golden,
)
from serinus.parity.stages import estimator_of
from serinus.replica.card import Card, ColumnType, read_card
from serinus.replica.direct import official
from serinus.replica.form import Form, Kept, Standing, keep, kept
from serinus.replica.intake import ColumnIntake, strict_intake
from serinus.replica.loaded import Model, Source, golden_units, with_example
from serinus.replica.onnx_agree import Agreement, Answers, agreement, answers_of, guards_of
from serinus.replica.onnx_convert import CantConvert, attempts, convert
from serinus.replica.onnx_edges import edges
from serinus.replica.onnx_plan import Guard, Plan
from serinus.replica.onnx_rows import Rows, rows_of
from serinus.replica.onnx_session import Converted
from serinus.replica.unit import Unit

__all__ = ["NEEDED", "converted", "hindrance", "try_conversion"]

_log = logging.getLogger(__name__)
#: Packages that the conversion and the serving need.
NEEDED = ("onnx", "onnxruntime", "skl2onnx")
_FLAVORS = ("mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm")
_NAME = "onnx"
_MODEL, _PLAN = "model.onnx", "plan.json"
_ADVICE = "pip install 'serinus[onnx]', or let the model's requirements name them"


def converted(card: Card, source: Source) -> tuple[Model | None, Standing]:
    """The converted model, if it may serve; else None. The standing says why (not)."""
    why = hindrance(card, source)
    if why:
        return None, _standing(Kept(False, why))
    with tempfile.TemporaryDirectory(prefix="serinus-onnx-") as temporary:
        directory = source.forms or Path(temporary)
        known = kept(directory, _NAME)
        if known is None:
            known = _found_out(card, directory, source.convert_s)
        for line in known.report:
            _log.info("action=optimize %s", line)
        if not known.holds:
            return None, _standing(known)
        try:
            return _loaded(card, directory, known), _standing(known)
        except Exception as error:  # noqa: BLE001 - files may be gone; the original serves
            _log.warning("action=converted_not_loaded error=%r", error)
            why = f"the converted model can't be loaded ({described(error)})"
            return None, _standing(Kept(False, why))


def _standing(known: Kept) -> Standing:
    if known.holds:
        return Standing(Form.ONNX, known.reason, tuple(known.report))
    reason = f"optimize: onnx was asked for, but {known.reason}"
    return Standing(Form.PYFUNC, reason, tuple(known.report))


def hindrance(card: Card, source: Source, needed: Sequence[str] = NEEDED) -> str:
    """Why it need not be tried; empty when it may work."""
    if source.intake is not Reading.STRICT:
        return "requests are read as MLflow reads them, and only a strict reader can feed it"
    if not card.columns or card.hinted or card.has_params:
        return "its signature does not name columns with simple types, or it has params"
    flavor = str(card.pyfunc.get("loader_module"))
    if flavor not in _FLAVORS:
        return f"a model that {flavor} loads has no converter"
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return f"its environment lacks {', '.join(missing)}: {_ADVICE}"
    return ""


def _found_out(card: Card, directory: Path, budget_s: float) -> Kept:
    """Convert and compare, in a process of its own; the outcome is kept."""
    # Should this replica be ended meanwhile, the next one must not try it for ever.
    keep(
        directory, _NAME, Kept(False, "the replica that converted it was ended before it was done")
    )
    with tempfile.TemporaryDirectory(prefix="serinus-onnx-") as temporary:
        told = Path(temporary) / "found.json"
        command = [
            sys.executable,
            "-m",
            "serinus.replica.optimized",
            str(card.path),
            str(directory),
            str(told),
        ]
        said = ""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # converters print what they like
                stderr=subprocess.PIPE,
                timeout=budget_s,
                check=False,
            )
            said = " ".join(done.stderr.decode(errors="replace").strip().splitlines()[-1:])
            known = msgspec.json.decode(told.read_bytes(), type=Kept)
        except subprocess.TimeoutExpired:
            known = Kept(False, f"converting and comparing took longer than {budget_s:g} s")
        except (OSError, msgspec.DecodeError) as error:
            known = Kept(False, f"the process that converts it ended: {said[:300] or error}")
    keep(directory, _NAME, known)
    return known


def try_conversion(path: Path, directory: Path) -> Kept:
    """Convert and compare, here and now; what agrees is written into ``directory``."""
    try:
        return _Trial(read_card(path), _golden(path), directory).run()
    except CantConvert as error:
        return Kept(False, f"it can't be converted: {error}")
    except Exception as error:  # noqa: BLE001 - a model and a converter may raise anything
        reason = described(error).splitlines()[0]
        return Kept(False, f"the conversion met {reason[:300]}")


def _golden(path: Path) -> Sequence[GoldenRow]:
    try:
        return read_golden(path / DIRECTORY)[1] if has_contract(path) else ()
    except SerinusError:
        return ()


class _Trial:
    """One model, its original answers, and the conversions that are tried."""

    def __init__(self, card: Card, rows: Sequence[GoldenRow], directory: Path) -> None:
        self._card, self._directory = card, directory
        intake = strict_intake(card)
        if not isinstance(intake, ColumnIntake):
            raise CantConvert("its signature can't be read strictly")
        self._intake = intake
        golden = golden_units(intake, rows)
        example = with_example(Model(intake, _nobody, None), card).example or next(
            iter(golden), None
        )
        if example is None:
            raise CantConvert("it has no input example and no golden rows to compare answers on")
        self._bundle = _bundle(card.path)
        self._example, self._golden = example, golden
        self._rows = Rows([], [], 0)
        loaded = official(card)
        self._predict = loaded.predict
        self._method = card.pyfunc.get("predict_fn", "predict")
        self._estimator = estimator_of(loaded)

    def run(self) -> Kept:
        guards = guards_of(self._original, self._probes())
        self._check_optional(guards)
        self._rows = rows_of(
            self._intake,
            self._card.columns,
            self._example,
            self._golden,
            self._bundle,
            Random(3),  # noqa: S311 - no secret
            filled={guard.column for guard in guards if guard.what == "null"},
        )
        original = self._with_edges(answers_of(self._original, self._rows.units))
        if "answer" not in original.stages:
            raise CantConvert("the original refuses every row that there is to compare")
        said: list[str] = []
        for attempt in attempts(self._estimator, self._card.columns):
            try:
                content, plan = convert(
                    self._estimator, attempt, self._method, original.stages["answer"]
                )
                plan = msgspec.structs.replace(plan, guards=guards)
                found = self._compared(content, plan, original)
            except CantConvert as error:
                said.append(f"{attempt.said}: {error}")
                continue
            said += [_sentence(attempt.said, found, self._rows), *found.lines]
            if not found.apart:
                self._write(content, plan)
                return Kept(True, _agreed(found, self._rows), said)
        return Kept(False, f"no conversion agrees with it ({_summary(said)})", said)

    def _with_edges(self, original: Answers) -> Answers:
        """Rows beside every change of the answer that was found, too."""
        stage = "S4" if "S4" in original.stages else "answer"
        more = edges(
            lambda units: self._original(units)[stage],
            self._intake,
            self._card.columns,
            self._rows.known(),
            Random(4),  # noqa: S311 - no secret
        )
        self._rows = self._rows.and_(more)
        return answers_of(self._original, self._rows.units) if more else original

    def _compared(self, content: bytes, plan: Plan, original: Answers) -> Agreement:
        try:
            model = Converted(content, plan)
        except Exception as error:
            raise CantConvert(f"ONNX Runtime refuses it: {error}".splitlines()[0][:300]) from error

        def ask(units: Sequence[Unit]) -> dict[str, Any]:
            cells = [row for unit in units for row in unit.data.cells]
            return model.outputs(model.feed(cells, self._card.columns))

        contract: Contract | None = None if self._bundle is None else self._bundle.contract
        return agreement(contract, self._rows, original, answers_of(ask, self._rows.units))

    def _original(self, units: Sequence[Unit]) -> dict[str, Any]:
        frame = self._intake.frame(units)
        found = {"answer": self._predict(frame)}
        if not isinstance(found["answer"], np.ndarray):
            raise CantConvert(f"its answer is a {type(found['answer']).__name__}, not an array")
        score = getattr(self._estimator, "predict_proba", None)
        if score is not None:
            found["S4"] = np.asarray(score(frame))
        return found

    def _probes(self) -> Iterator[tuple[Guard, Unit]]:
        """A row for each column with a value that estimators often refuse, or without it."""
        base = self._example.data.cells[0]
        names = [column.name for column in self._card.columns]
        one = self._intake.take(
            {name: [cell] for name, cell in zip(names, base, strict=True)}, None
        )
        try:
            self._original([one])
        except Exception as error:
            raise CantConvert(f"the original refuses its own example: {error}") from error
        for at, column in enumerate(self._card.columns):
            whole = {each.name: [base[to]] for to, each in enumerate(self._card.columns)}
            odd = {"null": {**whole, column.name: [None]}}
            if column.type is ColumnType.DOUBLE:
                odd["huge"] = {**whole, column.name: [1e300]}
            if not column.required and len(whole) > 1:
                odd["absent"] = {name: cell for name, cell in whole.items() if name != column.name}
            for what, cells in odd.items():
                with contextlib.suppress(SerinusError):  # the intake refuses it already
                    yield Guard(at, what, "", column.name), self._intake.take(cells, None)

    def _check_optional(self, guards: Sequence[Guard]) -> None:
        absent = {guard.name for guard in guards if guard.what == "absent"}
        for column in self._card.columns:
            if not column.required and column.name not in absent and len(self._card.columns) > 1:
                raise CantConvert(
                    f"the column '{column.name}' is optional and the original answers without it"
                )

    def _write(self, content: bytes, plan: Plan) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, part in ((_MODEL, content), (_PLAN, msgspec.json.encode(plan))):
            temporary = self._directory / f".{name}.{os.getpid()}.tmp"
            temporary.write_bytes(part)
            temporary.replace(self._directory / name)


def _loaded(card: Card, directory: Path, known: Kept) -> Model:
    plan = msgspec.json.decode((directory / _PLAN).read_bytes(), type=Plan)
    session = Converted((directory / _MODEL).read_bytes(), plan)
    intake = ColumnIntake(card.columns)
    intake.feed = session.feed
    model = with_example(Model(intake, session.predict, None), card)
    model.standing = _standing(known)
    return model


def _bundle(path: Path) -> Bundle | None:
    """The contract beside the model; without a good one the usual tolerances hold."""
    if not has_contract(path):
        return None
    try:
        return read_bundle(path / DIRECTORY)
    except SerinusError:
        return None


def _sentence(said: str, found: Agreement, rows: Rows) -> str:
    of = f"{found.rows} rows ({rows.golden} golden)"
    if not found.apart:
        return f"{said}: all {of} agree"
    return f"{said}: {len(found.apart)} of {of} differ"


def _agreed(found: Agreement, rows: Rows) -> str:
    """The reason in one sentence, with the versions that made it."""
    made = ", ".join(f"{name} {_version(name)}" for name in ("skl2onnx", "onnxruntime"))
    return f"{found.rows} rows, {rows.golden} of them golden, agree with the original ({made})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def _summary(said: Sequence[str]) -> str:
    return "; ".join(line for line in said if line.startswith("numbers"))[:400]


def _nobody(_data: Any, _params: dict[str, Any] | None) -> Any:
    raise AssertionError("asked nobody")


if __name__ == "__main__":
    _path, _directory, _told = map(Path, sys.argv[1:])
    _told.write_bytes(msgspec.json.encode(try_conversion(_path, _directory)))
