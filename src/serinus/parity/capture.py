"""Captures a contract beside training: from the model and the data it was trained or judged on.

It asks the model and looks at the data; it changes neither. Private values never leave this
process.
"""

import math
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serinus.errors import InvalidParameterValue, described
from serinus.parity.contract import (
    FORMAT,
    Contract,
    Field,
    Inputs,
    Kind,
    Leak,
    Metric,
    ModelIdentity,
    Nulls,
    Origin,
    Privacy,
    Training,
)
from serinus.parity.evaluation import Evaluation, Own, evaluate, measure_of
from serinus.parity.fingerprint import code_digests, data_fingerprint, parameter_digests
from serinus.parity.folder import DIRECTORY, Bundle, write_bundle
from serinus.parity.golden import MOST, choose
from serinus.parity.leakage import Lateness, LeakageFound
from serinus.parity.lock import current_lock
from serinus.parity.logged import LoggedModel, opened
from serinus.parity.made import made_rows
from serinus.parity.observe import joint_checks, observe, score_profile
from serinus.parity.profiles import Profile
from serinus.parity.rehearsal import Rehearsal, Script, rehearse
from serinus.parity.sample import Sample, name_of, open_sample, times_of
from serinus.parity.signature import read_model_file

__all__ = ["capture"]

_SCORED_ROWS = 20_000
_FEWEST = 16


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def capture(
    model: Any,
    X: Any,  # noqa: N803 - as everywhere beside scikit-learn
    y: Any = None,
    *,
    declared: Mapping[str, Mapping[str, Any]] | None = None,
    stages: Mapping[str, str | Callable[[Any], Any]] | None = None,
    entity_times: Any = None,
    feature_times: Mapping[str, Any] | None = None,
    into: str | PathLike[str] | LoggedModel | None = None,
    directory: str | PathLike[str] | None = None,
    predict: str | None = None,
    threshold: float | None = None,
    metric: str | Own | None = None,
    label: str | None = None,
    label_delay: str | None = None,
    on_leak: str = "refuse",
    golden: int = MOST,
    seed: int = 0,
    at: datetime | None = None,
    say: Callable[[str], object] = _say,
) -> Bundle:
    """Capture the contract of ``model`` from rows ``X`` and their labels ``y``.

    ``into``: what ``mlflow.*.log_model`` returned, the URI of a logged model, or the directory that
    ``mlflow.*.save_model`` wrote. Its signature decides the types, the contract is bound to its
    files and becomes its ``contract`` directory, or ``directory`` if that is given.
    ``declared``: field → what is known of it (see `DECLARABLE`).
    ``stages``: stage → name of a method of the model, or a function of the frame.
    ``entity_times``: when each row's prediction is asked for, or the name of the column of ``X``
    that has it; ``feature_times``: field → when each row's value was known.
    ``on_leak``: ``refuse`` or ``warn``. ``golden``: golden rows at most, 16 to 256.

    Raises LeakageFound, and InvalidParameterValue for what can't be used.
    """
    _check(on_leak, golden, at)
    random = np.random.default_rng(seed)
    with opened(into, keep=directory is None) as place:
        file = read_model_file(place) if place is not None else None
        sample = open_sample(model, X, y, file, predict, threshold, declared or {})
        asked, late = times_of(sample, entity_times, feature_times or {})
        _score(sample, random)
        found = _evaluate(sample, late, metric, random)
        _report(found, late, say)
        if late.leaks and on_leak == "refuse":
            _refuse(found, late)
        training = msgspec.structs.replace(
            _training(sample, asked, found), label=label or name_of(y), label_delay=label_delay
        )
        profile = _observe(sample, late, found, training.fingerprint)
        played = _rehearse(sample, dict(stages or {}), golden, training.fingerprint, random)
        contract = msgspec.structs.replace(
            _contract(sample, played, training, leaks=found.leaks),
            metrics=[_on_golden(each, sample, played, metric) for each in found.metrics],
            captured_at=at.isoformat() if at is not None else None,
            cannot=[*_cannot(sample, asked), *played.cannot],
        )
        bundle = Bundle(contract, profile, current_lock(), tuple(played.rows), played.stages)
        target = directory or (place / DIRECTORY if place is not None else None)
        return bundle if target is None else write_bundle(bundle, Path(target), place)


def _check(on_leak: str, golden: int, at: datetime | None) -> None:
    if on_leak not in ("refuse", "warn"):
        raise InvalidParameterValue(f"on_leak can't be {on_leak!r}; it is refuse or warn.")
    if not _FEWEST <= golden <= MOST:
        raise InvalidParameterValue(
            f"A contract can't have {golden} golden rows; ask for {_FEWEST} to {MOST}."
        )
    if at is not None and at.tzinfo is None:
        raise InvalidParameterValue("The time of capture needs a time zone, such as UTC.")


def _training(sample: Sample, asked: Any | None, found: Evaluation) -> Training:
    """What the sample was."""
    return Training(
        rows=len(sample.frame),
        columns=len(sample.columns),
        fingerprint=data_fingerprint(sample.columns),
        since=None if asked is None else str(np.min(asked)),
        until=None if asked is None else str(np.max(asked)),
        positive_rate=found.positive_rate,
    )


def _contract(
    sample: Sample, played: Rehearsal, training: Training, *, leaks: list[Leak]
) -> Contract:
    """The contract, as far as model, fields and golden rows decide it."""
    outputs = [each.name for each in sample.file.outputs] if sample.file else []
    return Contract(
        format=FORMAT,
        origin=Origin.CAPTURED,
        model=_identity(sample, played),
        fields=[*(_with_refusals(field, played) for field in sample.fields), *sample.absent],
        inputs=Inputs(
            names=[field.name for field in (*sample.fields, *sample.absent)],
            positional=sample.what.tensor,
        ),
        outputs=msgspec.structs.replace(sample.what.outputs(), names=outputs),
        stages=played.described,
        training=training,
        leaks=leaks,
        golden=played.coverage,
    )


def _score(sample: Sample, random: np.random.Generator) -> None:
    rows = len(sample.frame)
    sample.scored = np.arange(rows)
    if rows > _SCORED_ROWS:
        sample.scored = np.sort(random.choice(rows, _SCORED_ROWS, replace=False))
    try:
        sample.scores = sample.what.scores(sample.frame.iloc[sample.scored])
    except Exception as error:
        raise InvalidParameterValue(
            f"The model can't answer the sample ({described(error)}); give rows as it "
            "was trained on."
        ) from error


def _evaluate(
    sample: Sample, late: Lateness, metric: str | Own | None, random: np.random.Generator
) -> Evaluation:
    if sample.labels is None:
        return Evaluation(leaks=late.leaks)
    measure = measure_of(sample.what, sample.labels, metric, scored=sample.scores is not None)
    columns = {column.name: column for column in sample.columns}
    return evaluate(measure, sample.frame, columns, sample.labels, sample.fields, late, random)


def _report(found: Evaluation, late: Lateness, say: Callable[[str], object]) -> None:
    """Always said, so that a metric that serving can't have is seen beside the one it can."""
    for each in found.metrics:
        served = f"{each.as_served:.3f}" if each.as_served is not None else "not computable"
        without = f" (without {', '.join(each.masked)})" if each.masked else ""
        say(f"{each.name}: {each.offline:.3f} offline, {served} as served{without}")
    for leak in found.leaks:
        word = "suspected leak" if leak.kind == "suspected" else "leak"
        say(f"{word}: '{leak.field}': {leak.detail}")
    if not found.metrics and late.leaks:
        say("no labels were given, so what the leak is worth can't be said")


def _refuse(found: Evaluation, late: Lateness) -> None:
    figures = "; ".join(
        f"{each.name} is {each.offline:.3f} offline and {each.as_served:.3f} as served"
        for each in found.metrics
        if each.as_served is not None
    )
    what = "; ".join(f"'{leak.field}': {leak.detail}" for leak in late.leaks)
    raise LeakageFound(
        f"The model uses what serving will not know: {what}."
        + (f" {figures}." if figures else "")
        + " Train without it, or capture with on_leak='warn'.",
        details=[msgspec.to_builtins(leak) for leak in late.leaks],
    )


def _observe(sample: Sample, late: Lateness, found: Evaluation, salt: str) -> Profile:
    """The profile; the fields get what was observed of them."""
    profiles = {}
    fields = []
    for column, field in zip(sample.columns, sample.fields, strict=True):
        observed, profiles[field.name] = observe(column, field.privacy, salt)
        fields.append(
            msgspec.structs.replace(
                field,
                observed=observed,
                time=late.timing.get(field.name, field.time),
                importance=found.importance.get(field.name),
                tz=field.tz or column.tz,
            )
        )
    sample.fields = fields
    joint, means, scales = joint_checks(sample.plain)
    score = None
    if sample.scores is not None:
        part = sample.frame.iloc[sample.scored]
        score = score_profile(sample.scores, sample.what.decisions(part, sample.scores))
    return Profile(
        rows=len(sample.frame),
        fields=profiles,
        score=score,
        joint=joint,
        means=means,
        scales=scales,
    )


def _rehearse(
    sample: Sample,
    named: dict[str, str | Callable[[Any], Any]],
    golden: int,
    salt: str,
    random: np.random.Generator,
) -> Rehearsal:
    # A model of bare arrays has no place for a case of another type.
    made = [] if sample.what.tensor else made_rows(sample.columns, sample.by_name)[: golden // 2]
    chosen = choose(
        sample.columns,
        {name for name, field in sample.by_name.items() if field.privacy is Privacy.PLAIN},
        None if sample.scores is None else (sample.scored, sample.scores),
        sample.what.outputs().threshold,
        random,
        golden - len(made),
    )
    if not chosen.rows:
        raise InvalidParameterValue(
            "No row of the sample can be sent as JSON: each has infinity or broken text in it."
        )
    script = Script(sample.what, sample.by_name, named, salt)
    return rehearse(script, sample.frame, chosen, made, sample.labels)


def _identity(sample: Sample, played: Rehearsal) -> ModelIdentity:
    inside = sample.what.inside
    flavor = sample.file.flavor if sample.file else type(inside).__module__.partition(".")[0]
    return ModelIdentity(
        flavor=flavor,
        rows_independent=played.rows_independent,
        code=code_digests(inside),
        parameters=parameter_digests(inside),
    )


def _with_refusals(field: Field, played: Rehearsal) -> Field:
    """What the model was seen to do with a null and with an unknown category."""
    kinds = {(each.kind, name) for each in played.refused for name in each.values}
    if ("null", field.name) in kinds:
        nulls = Nulls(encodings=field.null.encodings)
        field = msgspec.structs.replace(field, null=nulls)
    if field.unknown_category is None and field.type.logical is Kind.TEXT:
        word = "reject" if ("unknown", field.name) in kinds else "model-native"
        field = msgspec.structs.replace(field, unknown_category=word)
    return field


def _on_golden(metric: Metric, sample: Sample, played: Rehearsal, own: str | Own | None) -> Metric:
    rows = [at for at, row in enumerate(played.rows) if row.label is not None]
    labels = np.asarray([played.rows[at].label for at in rows])
    if not rows:
        return metric
    measure = measure_of(sample.what, sample.labels, own, scored=sample.scores is not None)
    value = measure.on(played.frame.iloc[rows], measure.labels(labels))
    return msgspec.structs.replace(metric, golden=value if math.isfinite(value) else None)


def _cannot(sample: Sample, asked: Any | None) -> list[str]:
    found = []
    if sample.labels is None:
        found.append("No labels were given: no metric, no importance, no search for leaks.")
    if asked is None:
        found.append("No entity_times were given: it can't be said whether features come in time.")
    if sample.file is None:
        found.append("It was captured without a model directory, so it is bound to no files.")
    for field in sample.absent:
        found.append(f"The sample lacks the optional field {field.name}: nothing was observed.")
    if sample.scores is None:
        found.append("The model has no single score a row: no threshold neighbours, no histogram.")
    return found
