"""Builds the golden set: rows, their request bodies, and what the model makes of them by stage.

The expected values are those of the frame as training has it; that a served request gives the same
is for the verification to find out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serinus.errors import InvalidParameterValue, described
from serinus.parity.arrays import StageValues, differing, plain_cell
from serinus.parity.columns import Column, columns_of
from serinus.parity.contract import Coverage, Field, Kind, Privacy, Stage
from serinus.parity.folder import GoldenRow
from serinus.parity.golden import Chosen
from serinus.parity.made import Made, bodies, put, without_secrets
from serinus.parity.stages import as_stage, field_values, tolerance_of
from serinus.parity.subject import Subject

__all__ = ["Rehearsal", "Script", "rehearse"]

#: Golden rows that are also answered one at a time.
_ALONE = 24


@dataclass(frozen=True)
class Script:
    """What a golden set is made of."""

    subject: Subject
    fields: Mapping[str, Field]
    named: dict[str, str | Callable[[Any], Any]]
    salt: str


@dataclass
class Rehearsal:
    """The golden set and what was learned while it was made."""

    rows: list[GoldenRow] = field(default_factory=list)
    stages: dict[str, StageValues] = field(default_factory=dict)
    described: list[Stage] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    #: Cases that the model refuses.
    refused: list[Made] = field(default_factory=list)
    rows_independent: bool | None = None
    frame: Any = None
    cannot: list[str] = field(default_factory=list)


def rehearse(
    script: Script, frame: Any, chosen: Chosen, made: list[Made], labels: Any | None
) -> Rehearsal:
    """Answer the chosen rows and the made ones; raises InvalidParameterValue."""
    found = Rehearsal()
    made, found.refused = _accepted(script, frame, chosen, made)
    golden = _frame(frame, chosen, made)
    without_secrets(golden, script.fields, script.salt)
    try:
        outputs = script.subject.stages(golden, script.named)
    except Exception as error:
        raise InvalidParameterValue(
            f"The model can't answer its golden rows ({described(error)}); give a "
            "sample of what it was trained on."
        ) from error
    found.frame = golden
    _keep_fields(found, script, columns_of(golden))
    for name, output in outputs.items():
        _keep(found, script, name, output, len(golden))
    found.rows_independent = _independent(script, golden, found)
    _describe_rows(found, script, golden, chosen, made, labels)
    return found


def _frame(frame: Any, chosen: Chosen, made: list[Made]) -> Any:
    bases = [chosen.rows[at % len(chosen.rows)] for at in range(len(made))]
    golden = frame.iloc[[*chosen.rows, *bases]].copy().reset_index(drop=True)
    put(golden, len(chosen.rows), made)
    return golden


def _accepted(
    script: Script, frame: Any, chosen: Chosen, made: list[Made]
) -> tuple[list[Made], list[Made]]:
    """The cases that the model answers, and those that it refuses."""
    if _answers(script, frame, chosen, made):
        return made, []
    good = [each for each in made if _answers(script, frame, chosen, [each])]
    return good, [each for each in made if each not in good]


def _answers(script: Script, frame: Any, chosen: Chosen, made: list[Made]) -> bool:
    golden = _frame(frame, chosen, made).iloc[len(chosen.rows) :] if made else None
    if golden is None:
        return True
    try:
        script.subject.answer(golden)
    except Exception:  # noqa: BLE001 - a model may raise anything for what it doesn't take
        return False
    return True


def _keep_fields(found: Rehearsal, script: Script, columns: list[Column]) -> None:
    sent = [c for c in columns if script.fields[c.name].source == "request"]
    for name, some in (("S1", sent), ("S2", columns)):
        found.stages[name] = field_values(some)
        found.described.append(
            Stage(
                name=name,
                how="fields",
                columns=[column.name for column in some],
                tolerance=tolerance_of(name),
            )
        )


def _keep(found: Rehearsal, script: Script, name: str, output: Any, rows: int) -> None:
    stage = as_stage(output)
    if stage is None or any(len(values) != rows for values in stage[1]):
        why = "is too wide to keep" if stage is None else "does not have one value a row"
        found.cannot.append(f"Stage {name} {why}, so it can't be compared.")
        return
    how = script.named.get(name)
    found.stages[name] = stage[1]
    found.described.append(
        Stage(
            name=name,
            how=f"method:{how}" if isinstance(how, str) else "" if how else _how(script, name),
            columns=stage[0],
            tolerance=tolerance_of(name),
        )
    )
    if callable(how):
        found.cannot.append(
            f"Stage {name} was computed by a function that is no method of the model, so a "
            "replica can't compute it again."
        )


def _how(script: Script, name: str) -> str:
    return name if name == "answer" else "sklearn" if script.subject.estimator is not None else ""


def _independent(script: Script, golden: Any, found: Rehearsal) -> bool | None:
    """True when rows are answered alone as they are among others; None if it can't be said."""
    expected = found.stages.get("answer")
    if expected is None or len(golden) < 2:
        return None
    at = np.unique(np.linspace(0, len(golden) - 1, _ALONE).astype(int))
    for row in at:
        try:
            alone = as_stage(script.subject.answer(golden.iloc[[row]]))
        except Exception:  # noqa: BLE001 - a model may raise anything for a single row
            return False
        there = [values[row : row + 1] for values in expected]
        try:
            if alone is None or differing(there, alone[1], tolerance_of("answer")).any():
                return False
        except ValueError:
            return False
    return True


def _describe_rows(
    found: Rehearsal,
    script: Script,
    golden: Any,
    chosen: Chosen,
    made: list[Made],
    labels: Any | None,
) -> None:
    covers = [*chosen.covers, *([each.case] for each in made)]
    sent = bodies(golden, script.fields, tensor=script.subject.tensor)
    for at, (body, pinned) in enumerate(sent):
        real = at < len(chosen.rows)
        found.rows.append(
            GoldenRow(
                body=body,
                covers=covers[at],
                made=not real,
                label=plain_cell(labels[chosen.rows[at]]) if real and labels is not None else None,
                pinned=pinned,
            )
        )
    wanted, covered = dict(chosen.wanted), dict(chosen.covered)
    for each in (*made, *found.refused):
        wanted[each.kind] = wanted.get(each.kind, 0) + 1
        covered[each.kind] = covered.get(each.kind, 0) + int(each not in found.refused)
    found.coverage = Coverage(
        rows=len(found.rows),
        made=len(made),
        wanted=wanted,
        covered=covered,
        missing=[*chosen.missing, *(f"{each.case} (refused)" for each in found.refused)][:100],
    )
    _say_what_is_missing(found, script)


def _say_what_is_missing(found: Rehearsal, script: Script) -> None:
    left = found.coverage.wanted.get("category", 0) - found.coverage.covered.get("category", 0)
    if left > 0:
        found.cannot.append(
            f"{left} categories have no golden row: {len(found.rows)} rows are too few for all."
        )
    private = sorted(
        name for name, each in script.fields.items() if each.privacy is not Privacy.PLAIN
    )
    if private:
        found.cannot.append(
            f"The values of {', '.join(private)} are private: golden rows hold stand-ins for them, "
            "and their ranges are not watched."
        )
    others = sorted(n for n, each in script.fields.items() if each.type.logical is Kind.OTHER)
    if others:
        found.cannot.append(f"The values of {', '.join(others)} have no simple type to observe.")
