"""Takes requests apart into the contract's stages, with the intake and the model that serve.

It computes what serving computes and shows what lies between; it must never change the model, and
nothing that the model does short of ending the process may get past it.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from serinus.errors import BadRequest, InternalError, SerinusError, described
from serinus.parity.arrays import StageValues
from serinus.parity.columns import columns_of
from serinus.parity.contract import Contract, Stage
from serinus.parity.fingerprint import code_digests, parameter_digests
from serinus.parity.lock import current_lock
from serinus.parity.stages import as_stage, estimator_stages, field_values
from serinus.parity.subject import Subject, subject
from serinus.parity.wire import Inspection, Running
from serinus.replica.answer import error_body
from serinus.replica.intake import ColumnIntake
from serinus.replica.loaded import Model
from serinus.replica.pinned import digest_now, looks
from serinus.replica.protocol import Format, Frame, FrameError, Kind
from serinus.replica.question import inspection, is_about_running, requests_of, running
from serinus.replica.unit import Unit

__all__ = ["MOST_ROWS", "Files", "Inspector"]

_log = logging.getLogger(__name__)
#: Rows of one question; serving waits while they are computed.
MOST_ROWS = 4096


class Files:
    """The files that a model was loaded from; make it before they are read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.at_loading = self.looks()

    def looks(self) -> dict[str, tuple[int, int, int]] | None:
        """What they look like now, without reading them; None when they are gone."""
        try:
            return looks(self._directory)
        except OSError:
            return None

    def digest(self) -> str:
        """Their digest, as they are now; raises OSError."""
        return digest_now(self._directory)


class Inspector:
    """Answers INSPECT frames. ``contract`` is None for a model without one.

    ``identity`` is what the process knows of itself; what the model computes with, and whether its
    ``files`` are still those that were pinned, is found out on a thread when somebody asks for the
    first time, and again when the files were touched since.
    """

    def __init__(
        self,
        model: Model,
        contract: Contract | None,
        identity: Running,
        files: Files | None = None,
    ) -> None:
        self._model = model
        self._files = files
        self._contract = contract
        self._identity = identity
        self._known: Running | None = None
        #: What the model's files looked like when that was found out.
        self._known_by: object = None
        self._finding: threading.Thread | None = None
        self._what = _subject(model, contract)

    def answer(self, frame: Frame) -> Frame | None:
        """The INSPECTION for an INSPECT; None: not yet, ask me again."""
        try:
            if is_about_running(frame):
                return self._running(frame.id)
            return inspection(frame.id, self.inspect(requests_of(frame)))
        except SerinusError as error:
            return _failure(frame.id, error)
        except FrameError as error:
            return _failure(frame.id, BadRequest(f"The question can't be read: {error}."))
        except BaseException as error:  # noqa: BLE001 - sys.exit must not end the process
            _log.exception("action=inspect_failed")
            return _failure(frame.id, InternalError(f"The inspection met {described(error)}."))

    def inspect(self, requests: Sequence[tuple[bytes, Format]]) -> Inspection:
        """The stages of these requests; raises BadRequest for too many rows."""
        units: list[Unit] = []
        refused: dict[int, str] = {}
        for at, (body, format_) in enumerate(requests):
            try:
                units.append(self._model.intake.parse(body, format_))
            except SerinusError as error:
                refused[at] = error.message
        if sum(unit.rows or 1 for unit in units) > MOST_ROWS:
            raise BadRequest(f"At most {MOST_ROWS} rows are inspected at once; ask for fewer.")
        groups: dict[Any, list[int]] = {}
        for at, unit in enumerate(units):
            # All of one key go into one frame, as training had all of its rows in one.
            groups.setdefault((at,) if unit.key is None else unit.key, []).append(at)
        parts = [(places, self._of([units[at] for at in places])) for places in groups.values()]
        return _joined(parts, [unit.rows or 1 for unit in units], refused)

    @property
    def has_stages(self) -> bool:
        """Whether there is more to show of a request than its rows and its answer."""
        return bool(self._computed())

    def stages_of(self, unit: Unit) -> dict[str, StageValues]:
        """What lies between the rows of one request and its answer, as far as it can be had."""
        found = Inspection(stages={}, columns={}, missing={}, failed={})
        intake = self._model.intake
        if isinstance(intake, ColumnIntake) and not intake.as_block:
            self._keep_computed(found, intake.frame([unit]))
        else:
            self._keep_computed(found, intake.join([unit]))
        wanted = {each.name for each in self._computed()}
        return {name: each for name, each in found.stages.items() if name in wanted}

    def _computed(self) -> list[Stage]:
        stages = [] if self._contract is None or self._what is None else self._contract.stages
        return [each for each in stages if each.name not in ("S1", "S2", "answer")]

    def settle(self) -> None:
        """Wait until what was asked for is found out."""
        if self._finding is not None:
            self._finding.join()

    def _of(self, units: list[Unit]) -> Inspection:
        found = Inspection(stages={}, columns={}, missing={}, failed={})
        joined = self._model.intake.join(units)
        intake = self._model.intake
        frame = intake.frame(units) if isinstance(intake, ColumnIntake) else joined
        self._keep_fields(found, frame)
        data = joined if isinstance(intake, ColumnIntake) and intake.as_block else frame
        wanted = [] if self._contract is None else self._contract.stages
        self._keep_computed(found, data)
        _keep(found, "answer", partial(self._model.predict, joined, units[0].params))
        for each in wanted:
            if not any(each.name in some for some in (found.stages, found.missing, found.failed)):
                found.missing[each.name] = "the model doesn't show it to a replica"
        return found

    def _keep_computed(self, found: Inspection, data: Any) -> None:
        wanted = [] if self._contract is None else self._contract.stages
        named = {each.name: each.how for each in wanted if each.how.startswith("method:")}
        self._keep_estimator(found, data, [e.name for e in wanted if e.name not in named])
        for name, how in named.items():
            _keep(found, name, partial(self._called, how.removeprefix("method:"), data))

    def _keep_fields(self, found: Inspection, frame: Any) -> None:
        names, values = _fields(frame)
        if not names:
            return
        for name in ("S1", "S2"):
            found.stages[name], found.columns[name] = values, names

    def _keep_estimator(self, found: Inspection, data: Any, wanted: list[str]) -> None:
        if self._what is None or self._what.estimator is None:
            return
        stages = estimator_stages(self._what.estimator, data)
        done: set[str] = set()
        while True:
            try:
                name, output = next(stages)
            except StopIteration:
                return
            except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the model's
                rest = [each for each in wanted if each[:2] in ("S3", "S4", "S5")]
                name = next((each for each in rest if each not in done), "S3")
                found.failed[name] = described(error)
                return
            done.add(name)
            _keep_output(found, name, output)

    def _called(self, method: str, data: Any) -> Any:
        if self._what is None:
            raise BadRequest(f"The model has no method '{method}'.")
        return self._what.bound(method)(data)

    def _running(self, id_: int) -> Frame | None:
        looks = self._files.looks() if self._files is not None else None
        if self._known is None or looks != self._known_by:
            if self._finding is None or not self._finding.is_alive():
                self._finding = threading.Thread(
                    target=self._find, args=(looks,), name="who-am-i", daemon=True
                )
                self._finding.start()
            return None
        return running(id_, self._known)

    def _find(self, looks: object) -> None:
        """What takes a while: the metadata of every library, digests of files and parameters."""
        found, files = self._identity, self._files
        inside = None if self._what is None else self._what.inside
        known = Running(
            model_digest=found.model_digest,
            files_digest="" if files is None else _tried(files.digest) or "",
            untouched=files is None or looks == files.at_loading,
            contract_id=found.contract_id,
            lock=_tried(current_lock),
            code=_tried(lambda: code_digests(inside)) or {},
            parameters=_tried(lambda: parameter_digests(inside)) or {},
            strict=found.strict,
            batched=found.batched,
            batching=found.batching,
            form=found.form,
            form_reason=found.form_reason,
        )
        self._known, self._known_by = known, looks


def _subject(model: Model, contract: Contract | None) -> Subject | None:
    """The loaded model as a capture sees it; None where it can't be taken apart."""
    if model.loaded is None:
        return None
    method = "predict" if contract is None else contract.outputs.method
    try:
        return subject(model.loaded, method, None)
    except SerinusError as error:
        _log.info("action=no_stages reason=%s", error.message)
        return None


def _fields(frame: Any) -> tuple[list[str], StageValues]:
    if hasattr(frame, "columns") and hasattr(frame, "iloc"):
        columns = columns_of(frame)
        return [column.name for column in columns], field_values(columns)
    if isinstance(frame, np.ndarray) and frame.ndim == 2:
        return [str(at) for at in range(frame.shape[1])], [*frame.T]
    return [], []


def _keep(found: Inspection, name: str, compute: Callable[[], Any]) -> None:
    try:
        output = compute()
    except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the model's
        found.failed[name] = described(error)
    else:
        _keep_output(found, name, output)


def _keep_output(found: Inspection, name: str, output: Any) -> None:
    stage = as_stage(output)
    if stage is None:
        found.missing[name] = "it is too wide to keep"
        return
    found.columns[name], found.stages[name] = stage


def _joined(
    parts: list[tuple[list[int], Inspection]], rows: list[int], refused: dict[int, str]
) -> Inspection:
    """The groups' rows in the order of the requests."""
    if len(parts) == 1:
        one = parts[0][1]
        return Inspection(
            stages=one.stages,
            columns=one.columns,
            refused=refused,
            missing=one.missing,
            failed=one.failed,
        )
    found = Inspection(stages={}, columns={}, refused=refused, missing={}, failed={})
    first = [0, *np.cumsum(rows).tolist()]
    places = [list(_places(units, first)) for units, _ in parts]
    order = np.argsort([at for some in places for at in some], kind="stable")
    for _, part in parts:
        found.missing.update(part.missing)
        found.failed.update(part.failed)
    names = dict.fromkeys(name for _, part in parts for name in part.stages)
    for name in names:
        if name in found.missing or name in found.failed:
            continue
        columns = [part.stages.get(name, []) for _, part in parts]
        if len({len(each) for each in columns}) != 1:
            found.failed[name] = "requests of one kind have other columns than those of another"
            continue
        found.columns[name] = parts[0][1].columns[name]
        found.stages[name] = [
            _ordered(list(values), order) for values in zip(*columns, strict=True)
        ]
    return found


def _places(units: list[int], first: list[int]) -> Iterator[int]:
    for unit in units:
        yield from range(first[unit], first[unit + 1])


def _ordered(values: list[Any], order: Any) -> Any:
    if all(isinstance(each, np.ndarray) for each in values):
        shapes = {each.shape[1:] for each in values}
        if len(shapes) == 1:
            return np.concatenate(values)[order]
    flat = [each for some in values for each in some]
    return [flat[at] for at in order]


def _tried(find: Callable[[], Any]) -> Any:
    """What it finds, or None: a fact that can't be had must not cost the others."""
    try:
        return find()
    except Exception as error:  # noqa: BLE001 - it looks into other people's objects and files
        _log.warning("action=fact_not_found error=%r", error)
        return None


def _failure(id_: int, error: SerinusError) -> Frame:
    return Frame(Kind.INSPECTION, id_, error_body(error), format=Format.JSON, status=error.status)
