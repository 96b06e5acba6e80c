"""The sample to observe and the model to ask, brought together: columns, fields, labels, times.

It checks that they fit each other; it observes and asks nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serinus.errors import InvalidParameterValue
from serinus.parity.columns import Column, columns_of, to_pandas
from serinus.parity.contract import Field, Kind, Privacy
from serinus.parity.declarations import declare
from serinus.parity.leakage import Lateness, lateness
from serinus.parity.signature import Input, ModelFile, to_field
from serinus.parity.subject import Subject, subject

__all__ = ["Sample", "name_of", "open_sample", "times_of"]


@dataclass
class Sample:
    """The rows to observe and the model to ask, with what follows from both."""

    whole: Any
    frame: Any
    columns: list[Column]
    fields: list[Field]
    labels: Any | None
    what: Subject
    file: ModelFile | None
    #: Optional inputs of the signature that the sample doesn't have.
    absent: list[Field]
    #: Some rows, and the model's score of each, if it has one.
    scored: Any = None
    scores: Any | None = None

    @property
    def by_name(self) -> dict[str, Field]:
        """Field by its name."""
        return {field.name: field for field in self.fields}

    @property
    def plain(self) -> list[Column]:
        """The columns whose values may be kept."""
        known = self.by_name
        return [each for each in self.columns if known[each.name].privacy is Privacy.PLAIN]


def open_sample(
    model: Any,
    data: Any,
    y: Any,
    file: ModelFile | None,
    predict: str | None,
    threshold: float | None,
    declared: Mapping[str, Mapping[str, Any]],
) -> Sample:
    """The sample with all that the model and its signature say. Raises InvalidParameterValue."""
    whole = to_pandas(data)
    tensor = file.tensor if file is not None and file.inputs else isinstance(data, np.ndarray)
    what = subject(model, predict or (file.predict if file else None), threshold, tensor=tensor)
    frame = whole[_names(what, file, whole)]
    columns = columns_of(frame)
    there = {column.name for column in columns}
    signed = file.inputs if file is not None and not what.tensor else ()
    absent = [to_field(each) for each in signed if each.name not in there]
    fields = declare([*_fields(columns, file), *absent], declared)
    present, absent = fields[: len(columns)], fields[len(columns) :]
    return Sample(whole, frame, columns, present, _labels(y, len(frame)), what, file, absent)


def _names(what: Subject, file: ModelFile | None, whole: Any) -> list[Any]:
    """The columns that the model takes, in its order."""
    there = {str(name): name for name in whole.columns}
    wanted = [(name, True) for name in there]
    if file is not None and file.inputs and not what.tensor:
        wanted = [(each.name, each.required) for each in file.inputs]
    elif what.estimator is not None and getattr(what.estimator, "feature_names_in_", None) is not (
        None
    ):
        wanted = [(str(name), True) for name in what.estimator.feature_names_in_]
    missing = [name for name, required in wanted if required and name not in there]
    if missing:
        raise InvalidParameterValue(
            f"The sample lacks the column '{missing[0]}' that the model takes; it has "
            f"{', '.join(list(there)[:20])}."
        )
    return [there[name] for name, _ in wanted if name in there]


def _fields(columns: list[Column], file: ModelFile | None) -> list[Field]:
    inputs = {each.name: each for each in file.inputs} if file is not None else {}
    return [
        to_field(inputs[column.name])
        if column.name in inputs and not inputs[column.name].type.startswith("tensor")
        else to_field(Input(column.name, column.physical))
        for column in columns
    ]


def _labels(y: Any, rows: int) -> Any | None:
    if y is None:
        return None
    labels = np.asarray(y)
    if labels.shape != (rows,):
        raise InvalidParameterValue(
            f"The labels have the shape {labels.shape} for {rows} rows; give one for each row."
        )
    return labels


def name_of(y: Any) -> str | None:
    """What the labels are called, if they are a column."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) else None


def times_of(
    sample: Sample, entity_times: Any, feature_times: Mapping[str, Any]
) -> tuple[Any | None, Lateness]:
    """When predictions are asked for, and what comes too late. Raises InvalidParameterValue."""
    asked = None if entity_times is None else _instants(entity_times, sample.whole, "entity_times")
    unknown = feature_times.keys() - sample.by_name.keys()
    if unknown:
        raise InvalidParameterValue(
            f"feature_times names '{min(unknown)}', which is no field of the model."
        )
    known = {name: _instants(each, sample.whole, name) for name, each in feature_times.items()}
    return asked, lateness(sample.fields, asked, known, len(sample.frame))


def _instants(times: Any, whole: Any, what: str) -> Any:
    """Times as datetime64[ns]; a text names a column of the sample."""
    if isinstance(times, str):
        if times not in whole.columns:
            raise InvalidParameterValue(f"The sample has no column '{times}' for {what}.")
        times = whole[times]
    try:
        column = columns_of(to_pandas(type(whole)({"at": times})))[0]
    except (ValueError, TypeError) as error:
        raise InvalidParameterValue(f"The times of {what} can't be read: {error}.") from error
    if column.kind is not Kind.INSTANT or len(column.values) != len(whole):
        raise InvalidParameterValue(
            f"The times of {what} must be {len(whole)} dates with times, one for each row."
        )
    return column.values
