"""Loads a model and finds the shortest way to its answers that is the same as MLflow's.

Model files are never written to, and no answer may differ from `mlflow.pyfunc`'s own, but for a
converted model, whose answers agree with it within a tolerance.
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serinus.entities import Optimize, Reading
from serinus.parity.folder import GoldenRow
from serinus.parity.stages import estimator_of
from serinus.replica.answer import count_rows
from serinus.replica.apart import Apart, apart
from serinus.replica.audit import Audit
from serinus.replica.block import try_block
from serinus.replica.card import Card, read_card
from serinus.replica.direct import (
    bare_estimator,
    below,
    difference,
    is_bare_sklearn,
    official,
    same_below,
    spread,
    unpickled,
)
from serinus.replica.form import Form, Kept, Standing, keep, kept
from serinus.replica.intake import ColumnIntake, strict_intake
from serinus.replica.loaded import Model, Predict, Source, golden_units, with_example
from serinus.replica.unit import Unit

__all__ = ["load", "load_from"]

#: Flavours that have an estimator of scikit-learn's kind inside.
_OF_ESTIMATORS = ("mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm")
#: Seconds that the comparison with MLflow may take before it counts as not made.
_PROOF_S = 45.0


def load(
    path: Path, *, intake: Reading = Reading.STRICT, golden: Sequence[GoldenRow] = ()
) -> Model:
    """Load the model in a directory, and answer its example once.

    Raises whatever the model's own code raises.
    """
    return load_from(Source(path, intake, golden))


def load_from(source: Source) -> Model:
    """As `load`, with all that there is to know."""
    card = read_card(source.path)
    if source.optimize is Optimize.ONNX:
        # Only a replica that is to convert its model needs it.
        optimized = importlib.import_module("serinus.replica.optimized")
        model, standing = optimized.converted(card, source)
        if model is not None:
            return _answered(model)
        original = _answered(_original(card, source))
        kept_form = original.standing
        original.standing = Standing(kept_form.form, standing.reason, standing.report)
        return original
    return _answered(_original(card, source))


def _original(card: Card, source: Source) -> Model:
    if source.intake is Reading.STRICT and is_bare_sklearn(card):
        model, reason = _load_sklearn(card, source)
        if model is not None:
            return model
        found = _load_pyfunc(card, source)
        if found.standing.form is Form.DIRECT:
            reason = f"{found.standing.reason} (MLflow itself has to load it: {reason})"
        found.standing = Standing(found.standing.form, reason)
        return found
    return _load_pyfunc(card, source)


def _load_sklearn(card: Card, source: Source) -> tuple[Model | None, str]:
    """The model without MLflow, if its answers are proved to be MLflow's; else why not."""
    known = kept(source.forms, "direct")
    if known is not None and not known.holds:
        return None, known.reason
    intake, estimator = ColumnIntake(card.columns), unpickled(card)
    model = Model(intake, bare_estimator(estimator, card), None, loaded=estimator)
    with_example(model, card)
    units = golden_units(intake, source.golden)
    example = model.example or (units[0] if units else None)
    if example is None:
        return None, f"nothing to prove a shorter way with: {model.no_example}"
    if known is None:
        # Before anything is predicted here: threads of a library would not live on in the copy.
        known = _proved(card, model, example, spread(intake, example, units))
        keep(source.forms, "direct", known)
    if not known.holds:
        return None, known.reason
    block = try_block(estimator, model.predict, intake, example)
    shape = "an array" if block else "a data frame"
    model.standing = Standing(Form.DIRECT, f"{known.reason}; it is given {shape}")
    return model, ""


def _proved(card: Card, model: Model, example: Unit, units: Sequence[Unit]) -> Kept:
    """Whether MLflow, in a process of its own, gives the same bits for these rows."""

    def compared() -> list[str]:
        intake = model.intake
        if not isinstance(intake, ColumnIntake):
            raise TypeError
        try_block(model.loaded, model.predict, intake, example)
        found, rows = difference(model.predict, _predict_of(official(card)), intake, units)
        return [found, str(rows)]

    try:
        found, rows = apart(compared, _PROOF_S)
    except Apart as error:
        return Kept(False, f"it could not be compared with mlflow.pyfunc: {error}")
    if found:
        return Kept(False, f"past mlflow.pyfunc it answers otherwise: {found}")
    return Kept(True, f"{rows} rows got the same bits as from mlflow.pyfunc")


def _predict_of(loaded: Any) -> Predict:
    return lambda data, _params: loaded.predict(data)


def _answered(model: Model) -> Model:
    if model.example is not None:
        output = model.predict(model.intake.join([model.example]), model.example.params)
        model.example_rows = count_rows(output)
    return model


def _load_pyfunc(card: Card, source: Source) -> Model:
    lenient = source.intake is Reading.MLFLOW
    if card.pyfunc.get("code"):
        # Importing the model's own modules would leave __pycache__ beside them.
        sys.dont_write_bytecode = True
    loaded = official(card)
    strict = strict_intake(card)
    if strict is None or lenient:
        foreign = importlib.import_module("serinus.replica.foreign")
        schema = loaded.metadata.get_input_schema()
        audit = Audit(strict) if lenient else None
        reader = foreign.ForeignIntake(schema, hinted=card.hinted, audit=audit)
        model = with_example(Model(reader, loaded.predict, None, loaded=loaded), card)
        reader.counts.clear()  # the example is nobody's request
        why = "as intake: mlflow asks" if lenient else "its signature says too little"
        model.standing = Standing(Form.PYFUNC, f"requests are read by MLflow, {why}")
        return model
    model = with_example(Model(strict, loaded.predict, None, loaded=loaded), card)
    nested = isinstance(strict, ColumnIntake) and strict.has_nested
    if nested or card.has_params:
        why = "its signature has nested columns" if nested else "its signature has params"
        model.standing = Standing(Form.PYFUNC, f"{why}, which MLflow itself has to look at")
        return model
    _go_below(model, golden_units(strict, source.golden))
    return model


def _go_below(model: Model, golden: Sequence[Unit]) -> None:
    """Ask below MLflow's check of the schema, if that is seen to change nothing."""
    example = model.example or (golden[0] if golden else None)
    if example is None:
        why = f"nothing to prove a shorter way with: {model.no_example}"
        model.standing = Standing(Form.PYFUNC, why)
        return
    made = spread(model.intake, example, golden)
    shorter = below(model.loaded)
    reason = same_below(model.loaded, shorter, model.intake, made)  # type: ignore[arg-type]
    if reason:
        model.standing = Standing(Form.PYFUNC, reason)
        return
    model.predict = shorter
    said = "below mlflow.pyfunc's check of the schema the answers are the same bits"
    flavor = model.loaded.metadata.flavors["python_function"].get("loader_module")
    if flavor in _OF_ESTIMATORS and isinstance(model.intake, ColumnIntake):
        estimator = estimator_of(model.loaded)
        if hasattr(estimator, "get_params"):
            block = try_block(estimator, shorter, model.intake, example)
            said += "; it is given an array" if block else ""
    model.standing = Standing(Form.DIRECT, said)
