"""An endpoint in one process for the diagnosis matrix: real intake, counts, contract and replay.

What is left out is HTTP. Traffic is of one day and four callers.
"""

import tempfile
import warnings
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow.sklearn
import msgspec
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from bench.diagnosis_data import Study, pipeline
from bench.diagnosis_endpoint import InProcessWire, TrainedModel, stages_of
from bench.diagnosis_traffic import START, Drawn, Traffic, draw, keys_of, offline_of
from serinus.errors import SerinusError
from serinus.parity.arrays import StageValues
from serinus.parity.capture import capture
from serinus.parity.derived import derive
from serinus.parity.diagnosis.offline import TableOffline
from serinus.parity.diagnosis.rows import Rows, column_of
from serinus.parity.diagnosis.values import (
    Event,
    Golden,
    Measured,
    RefusedExample,
    Replica,
    RouteShare,
    Scope,
    Snapshot,
)
from serinus.parity.folder import Bundle
from serinus.parity.folding import Batch, fold
from serinus.parity.gates.golden import replay
from serinus.parity.gates.paths import paths_gate
from serinus.parity.metric import METRICS
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch, SliceKey
from serinus.replica.answered import Refused
from serinus.replica.card import Column as CardColumn
from serinus.replica.card import ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format, Frame
from serinus.replica.protocol import Kind as FrameKind
from serinus.testing.faults.endpoint import FaultyPipeline

__all__ = ["World", "world"]

_SERVED = "model-2"
_RECORDED = 4000


@dataclass
class World:
    """One study with one kind of model behind an endpoint."""

    study: Study
    pipeline: Any
    bundle: Bundle
    live: np.ndarray
    intake: ColumnIntake
    offline: TableOffline | None
    _golden: dict[str, Golden] = field(default_factory=dict)

    def drawn(self, traffic: Traffic) -> Drawn:
        """The requests of that traffic."""
        return draw(self.study, self.offline, self.live, traffic)

    def snapshot(self, traffic: Traffic) -> Snapshot:
        """What would be known of the endpoint after that traffic."""
        changes = {each.place: each.change for each in traffic.inside}
        return self._counted(traffic, self.drawn(traffic), FaultyPipeline(self.pipeline, changes))

    def _counted(self, traffic: Traffic, drawn: Drawn, endpoint: FaultyPipeline) -> Snapshot:
        bodies, chosen, hours, seconds = drawn.bodies, drawn.chosen, drawn.hours, drawn.seconds
        callers, statuses, ages = drawn.callers, drawn.statuses, drawn.ages
        shape = shape_of(self.bundle.contract, self.bundle.profile)
        live: dict[SliceKey, Sketch] = {}
        refused, units = [], []
        taken = np.zeros(len(bodies), dtype=bool)
        base = int(START.timestamp()) // 3600
        for at, body in enumerate(bodies):
            key = SliceKey(_SERVED, str(callers[at]), base + int(hours[at]))
            sketch = live.setdefault(key, Sketch())
            try:
                units.append(self.intake.parse(body, Format.JSON))
                taken[at] = True
            except SerinusError as error:
                for kind, name in Refused(0.0, Frame(FrameKind.REQUEST), error).reasons():
                    counts = sketch.refused.setdefault(kind, {})
                    counts[name] = counts.get(name, 0) + 1
                    got = str((error.details or [{}])[0].get("got", error.message))
                    refused.append(RefusedExample(field=name, kind=kind, got=got))
        kept = np.flatnonzero(taken)
        names = [each.name for each in self.bundle.contract.fields]
        cells = {name: [unit.data.cells[0][_place(unit, name)] for unit in units] for name in names}
        groups: dict[SliceKey, list[int]] = {}
        for place, at in enumerate(kept.tolist()):
            key = SliceKey(_SERVED, str(callers[at]), base + int(hours[at]))
            groups.setdefault(key, []).append(place)
        scores = self._scores(endpoint, units)
        for key, places in groups.items():
            lookups: dict[str, dict[str, int]] = {}
            old: dict[str, Any] = {}
            for name, status in statuses.items():
                words, times = np.unique(status[kept[places]].astype(str), return_counts=True)
                lookups[name] = {w: int(c) for w, c in zip(words, times, strict=True)}
            for name, known in ages.items():
                old[name] = known[kept[places]]
            batch = Batch(
                rows=len(places),
                columns={name: [cells[name][at] for at in places] for name in names},
                output=scores[places],
                requests=len(places),
                lookups=lookups,
                ages=old,
            )
            fold(live[key], shape, batch)
        order = np.sort(
            np.random.default_rng(1).permutation(len(kept))[: min(_RECORDED, len(kept))]
        )
        rows = self._rows(order, kept, cells, (chosen, seconds, callers), units, endpoint)
        return self._assembled(traffic, live, refused, rows, endpoint, (chosen[kept], scores))

    def _scores(self, endpoint: FaultyPipeline, units: list[Any]) -> np.ndarray:
        if not units:
            return np.empty((0, 2))
        return np.asarray(endpoint.scores(self.intake.frame(units)))

    def _rows(
        self, order: Any, kept: Any, cells: Any, facts: Any, units: list[Any], endpoint: Any
    ) -> Rows:
        chosen, seconds, callers = facts
        at = kept[order]
        columns = {}
        for each in self.bundle.contract.fields:
            some = [cells[each.name][i] for i in order]
            columns[each.name] = column_of(each.name, each.type.logical, some)
        keys = keys_of(self.study, chosen[at])
        columns = {**keys.columns, **columns}
        stages: dict[str, StageValues] = {}
        if len(order):
            stages = stages_of(endpoint, self.intake.frame([units[i] for i in order]))
        return Rows(
            ids=[f"r{each}" for each in at],
            at=START.timestamp() + seconds[at],
            callers=callers[at],
            columns=columns,
            stages=stages,
        )

    def _assembled(
        self,
        traffic: Traffic,
        live: dict[SliceKey, Sketch],
        refused: list[RefusedExample],
        rows: Rows,
        endpoint: FaultyPipeline,
        answered: tuple[np.ndarray, np.ndarray],
    ) -> Snapshot:
        contract = self.bundle.contract
        if traffic.leak:
            metrics = [
                msgspec.structs.replace(each, as_served=each.offline - 0.2, masked=["hour"])
                for each in contract.metrics
            ]
            contract = msgspec.structs.replace(contract, metrics=metrics)
        replicas = [
            Replica(
                id=f"replica-{at}",
                served=_SERVED,
                intended_digest="d2",
                served_digest="d1" if at < traffic.wrong_replicas else "d2",
            )
            for at in range(2)
        ]
        begun = START + timedelta(hours=traffic.hour)
        events = [Event(at=begun, kind="client", text="client release 4.2")] if traffic.hour else []
        shares = [
            RouteShare(served=f"model-{at}", wanted=wanted, requests=count)
            for at, (wanted, count) in enumerate(traffic.shares)
        ]
        return Snapshot(
            scope=Scope(
                endpoint="demo", served=_SERVED, since=START, until=START + timedelta(days=1)
            ),
            contract=contract,
            profile=self.bundle.profile,
            replicas=replicas,
            shares=shares or None,
            switched_units=traffic.switched_units,
            units=2000,
            environment=list(traffic.environment),
            live=live,
            refused=refused[:40],
            golden=self._replayed(traffic, endpoint),
            offline=self.offline if traffic.with_offline else None,
            rows=rows,
            reference=TrainedModel(self.pipeline, list(self.study.frame.columns)),
            events=events,
            measured=self._measured(traffic, *answered),
        )

    def _replayed(self, traffic: Traffic, endpoint: FaultyPipeline) -> Golden:
        inside = "+".join(each.spec for each in traffic.inside)
        name = f"{inside}{bool(traffic.environment)}{traffic.artefact_equal}{traffic.paths}"
        if name not in self._golden:
            wire = InProcessWire(self.intake, endpoint)
            done = replay(
                self.bundle, wire, wire.running(), environment_differs=bool(traffic.environment)
            )
            gates = [done.gate]
            if traffic.paths:
                gates.append(paths_gate(self.bundle, wire, wire.running(), done))
            self._golden[name] = Golden(
                gates=gates,
                at=START + timedelta(hours=23),
                rows=len(self.bundle.golden),
                artefact_equal=traffic.artefact_equal,
            )
        return self._golden[name]

    def _measured(self, traffic: Traffic, at: np.ndarray, scores: np.ndarray) -> list[Measured]:
        labels = self.study.labels[at].copy()
        if not len(labels) or len(set(labels.tolist())) < 2:
            return []
        random = np.random.default_rng(5)
        flip = random.random(len(labels)) < traffic.flipped
        classes = np.unique(self.study.labels)
        # Of two classes the other one, of more the next, of numbers any.
        labels[flip] = (
            1 - labels[flip]
            if len(classes) == 2
            else (labels[flip] + 1) % len(classes)
            if self.study.predict == "predict_proba"
            else random.choice(labels, int(flip.sum()))
        )
        due = len(labels)
        some = slice(0, due if traffic.labels is None else traffic.labels)
        metric, value = _figure(self.study, labels[some], scores[some])
        return [
            Measured(
                metric=metric,
                value=value,
                labels=len(labels[some]),
                due=due,
                labelled_yes=0.95 if traffic.selected else None,
                labelled_no=0.2 if traffic.selected else None,
            )
        ]


def _figure(study: Study, labels: np.ndarray, scores: np.ndarray) -> tuple[str, float]:
    """The metric that a capture chooses, and its value."""
    if study.predict != "predict_proba":
        return "rmse", METRICS["rmse"](labels, scores)
    if scores.shape[1] == 2:
        return "roc_auc", METRICS["roc_auc"](labels, scores[:, 1])
    return "accuracy", METRICS["accuracy"](labels, np.argmax(scores, axis=1))


def _place(unit: Any, name: str) -> int:
    names = [column.name for column in unit.data.layout.columns]
    return names.index(name)


def world(study: Study, kind: str, seed: int = 1, captured: int | None = None) -> World:
    """Train a model on one part of the study, capture on another, leave a third for traffic."""
    random = np.random.default_rng(seed)
    assert study.base is not None
    base = np.flatnonzero(study.base)
    order = random.permutation(base)
    size = min(captured or study.captured, len(order) // 4)
    train, judge, live = order[:size], order[size : 2 * size], order[2 * size :]
    model = pipeline(study, kind).fit(study.frame.iloc[train], study.labels[train])
    seen = study.frame.iloc[judge].reset_index(drop=True)
    if study.derived:
        bundle = _derived(model, seen)
    else:
        bundle = capture(
            model,
            seen,
            study.labels[judge],
            declared=study.declared,
            predict=study.predict,
            say=lambda line: None,
        )
    columns = [
        CardColumn(each.name, ColumnType(each.type.physical)) for each in bundle.contract.fields
    ]
    return World(study, model, bundle, live, ColumnIntake(columns), offline_of(study))


def _derived(model: Any, seen: pd.DataFrame) -> Bundle:
    """What a model promises that nobody captured a contract of."""
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            model,
            f"{place}/model",
            serialization_format="cloudpickle",
            signature=infer_signature(seen, model.predict_proba(seen)),
            input_example=seen.head(3),
            pip_requirements=["scikit-learn", "pandas"],
            pyfunc_predict_fn="predict_proba",
        )
        return derive(Path(place) / "model")
