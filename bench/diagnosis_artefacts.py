"""Model directories for the live diagnosis matrix: a right one, and ones with a fault inside.

A fault sits in what is served; the contract beside it is what training captured. A directory is
made when it is first asked for.
"""

import logging
import shutil
import sys
import threading
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow.sklearn
import msgspec
import numpy as np
from mlflow.models import infer_signature
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from bench.diagnosis_data import Study
from bench.diagnosis_traffic import Traffic
from bench.diagnosis_world import World
from serinus.parity.capture import capture
from serinus.parity.folder import DIRECTORY, Bundle, write_bundle
from serinus.parity.lock import Distribution
from serinus.testing.faults import EndpointFault

__all__ = ["Artefacts", "live_study"]

# The wrapper below travels inside of the saved models, so that a replica needs no benchmark.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
_CAPTURED = 6000
# It warns of every saved model; none of it is about these.
logging.getLogger("mlflow").setLevel(logging.ERROR)


def live_study(study: Study) -> Study:
    """The study with its keys among the fields: only what is sent can be compared by key."""
    assert study.key_frame is not None
    names = list(study.key_frame.columns)
    frame = study.frame.assign(**{each: study.key_frame[each] for each in names})
    declared = {
        name: {**said, "entity_keys": names} if "entity_keys" in said else said
        for name, said in study.declared.items()
    }
    return replace(study, frame=frame, declared=declared)


class _FaultyEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The last step of a pipeline, with a change to its scores or its decisions."""

    def __init__(self, inner: Any, score: Any = None, decision: Any = None) -> None:
        self.inner, self.score, self.decision = inner, score, decision
        self.classes_ = inner.classes_

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, vector: Any, labels: Any) -> Any:
        raise NotImplementedError("What is inside was fitted.")

    def predict_proba(self, vector: Any) -> Any:
        scores = self.inner.predict_proba(vector)
        return scores if self.score is None else self.score(scores)

    def predict(self, vector: Any) -> Any:
        scores = self.predict_proba(vector)
        if self.decision is None:
            return self.classes_[np.argmax(scores, axis=1)]
        return self.classes_[self.decision(scores).astype(int)]


def _with_faults(pipeline: Any, faults: list[EndpointFault]) -> Any:
    """The trained pipeline with steps of its own before, in and after it."""
    if not faults:
        return pipeline
    changes = {each.place: each.change for each in faults}
    steps: list[tuple[str, Any]] = [
        (place, FunctionTransformer(changes[place]))
        for place in ("parse", "fill")
        if place in changes
    ]
    steps += pipeline.steps[:-1]
    if "vector" in changes:
        steps.append(("vector", FunctionTransformer(changes["vector"])))
    last = pipeline.steps[-1][1]
    if {"score", "decision"} & changes.keys():
        last = _FaultyEstimator(last, changes.get("score"), changes.get("decision"))
    return Pipeline([*steps, ("model", last)])


@dataclass
class Artefacts:
    """The directories of one world, below ``root``. Any thread."""

    world: World
    root: Path
    _made: dict[str, Path] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, traffic: Traffic) -> Path:
        """The directory that is to be served for that traffic."""
        name = "+".join(each.spec for each in traffic.inside)
        name += f"|{bool(traffic.environment)}|{traffic.artefact_equal}|{traffic.leak}"
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make(self.root / f"model-{len(self._made)}", traffic)
            return self._made[name]

    def own(self, name: str) -> Path:
        """The right model once more, with files of its own: what breaks them breaks no others."""
        right, target = self.of(Traffic()), self.root / name
        shutil.copytree(right, target)
        shutil.rmtree(target / DIRECTORY)
        (target / "note.txt").write_text(f"{name}\n", encoding="utf-8")
        write_bundle(self.world.bundle, target / DIRECTORY, target)
        return target

    def older(self) -> Path:
        """Another version of the model: trained on half of the rows, with its own contract."""
        with self._lock:
            if "older" not in self._made:
                where, study = self.world, self.world.study
                half = where.live[: len(where.live) // 2]
                model = clone(where.pipeline).fit(study.frame.iloc[half], study.labels[half])
                target = self._saved(self.root / "older", model)
                self._captured(model, on_leak="refuse", into=target)
                self._made["older"] = target
            return self._made["older"]

    def _make(self, target: Path, traffic: Traffic) -> Path:
        served = _with_faults(self.world.pipeline, traffic.inside)
        right = served if traffic.artefact_equal else self.world.pipeline
        self._saved(target, right)
        bundle = self.world.bundle
        if traffic.leak:
            field_ = max(bundle.contract.fields, key=lambda each: each.importance or 0.0)
            late = {field_.name: {"available_at": "after_label"}}
            bundle = self._captured(self.world.pipeline, on_leak="warn", more=late)
        if traffic.environment:
            libraries = dict(bundle.lock.distributions)
            for each in traffic.environment:
                libraries[each.name] = Distribution(each.trained)
            bundle = replace(
                bundle, lock=msgspec.structs.replace(bundle.lock, distributions=libraries)
            )
        write_bundle(bundle, target / DIRECTORY, target)
        if not traffic.artefact_equal:
            broken = self._saved(target.with_name(f"{target.name}-broken"), served)
            shutil.copyfile(broken / "model.pkl", target / "model.pkl")
        return target

    def _saved(self, target: Path, model: Any) -> Path:
        some = self.world.study.frame.iloc[self.world.live[:200]].reset_index(drop=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.sklearn.save_model(
                model,
                str(target),
                serialization_format="cloudpickle",
                signature=infer_signature(some, model.predict_proba(some)),
                pip_requirements=["scikit-learn", "pandas"],
                pyfunc_predict_fn="predict_proba",
            )
        return target

    def _captured(
        self,
        model: Any,
        *,
        on_leak: str,
        more: dict[str, dict[str, Any]] | None = None,
        into: Path | None = None,
    ) -> Bundle:
        study, live = self.world.study, self.world.live[-_CAPTURED:]
        declared = dict(study.declared)
        for name, said in (more or {}).items():
            declared[name] = declared.get(name, {}) | said
        return capture(
            model,
            study.frame.iloc[live].reset_index(drop=True),
            study.labels[live],
            declared=declared,
            predict="predict_proba",
            into=into,
            on_leak=on_leak,
            say=lambda line: None,
        )
