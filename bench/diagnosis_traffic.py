"""Requests of one run of the diagnosis matrix: rows drawn from a study, with faults put in.

The same rows go through the reader in this process, or through a server; nothing here asks one.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from bench.diagnosis_data import Study
from serinus.parity.columns import columns_of
from serinus.parity.diagnosis.offline import TableOffline
from serinus.parity.diagnosis.rows import Rows
from serinus.parity.diagnosis.values import LibraryDifference
from serinus.testing.faults import ClientFault, EndpointFault, StoreFault
from serinus.testing.faults.client import Row
from serinus.testing.faults.store import Online

__all__ = [
    "CALLERS",
    "START",
    "Drawn",
    "Fault",
    "Traffic",
    "draw",
    "keys_of",
    "offline_of",
    "varied",
]

START = datetime(2026, 11, 20, tzinfo=UTC)
CALLERS = ("web", "app", "partner", "batch")
Fault = ClientFault | EndpointFault | StoreFault


@dataclass(frozen=True)
class Traffic:
    """What is wrong in one run; nothing is a healthy one."""

    fault: Fault | None = None
    #: More of them at once.
    more: tuple[Fault, ...] = ()
    #: Only this caller sends it; None: all.
    caller: str | None = None
    #: From this hour of the day on.
    hour: int = 0
    #: Rows drawn from here; None: as training was.
    mask: Any = None
    rows: int = 6000
    seed: int = 0
    environment: tuple[LibraryDifference, ...] = ()
    artefact_equal: bool | None = True
    wrong_replicas: int = 0
    switched_units: int = 0
    shares: tuple[tuple[float, int], ...] = ()
    flipped: float = 0.0
    labels: int | None = None
    selected: bool = False
    words: tuple[str, str, float] | None = None
    leak: bool = False
    nulls: tuple[str, float] | None = None
    paths: bool = False
    with_offline: bool = True

    @property
    def faults(self) -> list[Fault]:
        """All of them."""
        return [each for each in (self.fault, *self.more) if each is not None]

    @property
    def inside(self) -> list[EndpointFault]:
        """Those of the endpoint."""
        return [each for each in self.faults if isinstance(each, EndpointFault)]


@dataclass(frozen=True)
class Drawn:
    """The rows of one run, as they are sent."""

    #: Places of the rows in the study.
    chosen: np.ndarray
    #: Each row as its client sends it; times are texts.
    records: list[Row]
    #: Requests of one row each.
    bodies: list[bytes]
    hours: np.ndarray
    seconds: np.ndarray
    callers: np.ndarray
    #: What lookups said, by field, and how old what they gave was.
    statuses: dict[str, Any]
    ages: dict[str, Any]


def offline_of(study: Study) -> TableOffline | None:
    """The study's offline source, if it has one."""
    if study.offline is None:
        return None
    return TableOffline(
        f"{study.name} offline",
        {each.name: each for each in columns_of(study.offline)},
        study.keys,
        study.time,
        study.max_age_s,
    )


def keys_of(study: Study, chosen: np.ndarray) -> Rows:
    """The keys of some rows, without a time of their own."""
    columns = (
        columns_of(study.key_frame.iloc[chosen].reset_index(drop=True))
        if study.key_frame is not None
        else []
    )
    return Rows(
        ids=[str(each) for each in chosen],
        at=np.zeros(len(chosen)),
        callers=np.full(len(chosen), "", dtype=object),
        columns={each.name: each for each in columns},
    )


def draw(study: Study, offline: TableOffline | None, live: np.ndarray, traffic: Traffic) -> Drawn:
    """Rows of one day and four callers; ``live`` are the rows that training never saw."""
    random = np.random.default_rng(traffic.seed)
    pool = live if traffic.mask is None else np.flatnonzero(traffic.mask)
    chosen = random.choice(pool, min(traffic.rows, len(pool)), replace=False)
    hours = np.sort(random.integers(0, 24, len(chosen)))
    if study.hours is not None:
        chosen = chosen[np.argsort(study.hours[chosen], kind="stable")]
        hours = study.hours[chosen]
    frame = study.frame.iloc[chosen].reset_index(drop=True)
    seconds = hours * 3600 + random.integers(0, 3600, len(frame))
    callers = np.array(CALLERS, dtype=object)[random.integers(0, 4, len(frame))]
    if study.callers is not None:
        callers = study.callers[chosen]
    touched = (hours >= traffic.hour) & (
        np.ones(len(frame), dtype=bool) if traffic.caller is None else callers == traffic.caller
    )
    frame, statuses, ages = _joined(study, offline, frame, chosen, traffic, touched)
    records, bodies = _sent(frame, traffic, touched)
    return Drawn(chosen, records, bodies, hours, seconds, callers, statuses, ages)


def _joined(
    study: Study,
    offline: TableOffline | None,
    frame: pd.DataFrame,
    chosen: np.ndarray,
    traffic: Traffic,
    touched: np.ndarray,
) -> tuple[pd.DataFrame, dict[str, Any], dict[str, Any]]:
    statuses: dict[str, Any] = {}
    ages: dict[str, Any] = {}
    if traffic.words is not None:
        name, word, share = traffic.words
        new = np.random.default_rng(traffic.seed).random(len(frame)) < share
        frame = frame.assign(**{name: frame[name].where(~new, word)})
    for each in traffic.faults:
        if not isinstance(each, StoreFault):
            continue
        older = np.roll(frame[each.field].to_numpy(), 1)
        if study.time is not None and offline is not None:
            older_truth = offline.truth(each.field, keys_of(study, chosen), 120 * 3600.0)
            if older_truth is not None:
                older = older_truth.column.values
        online = each.applied(Online(frame[each.field].to_numpy(dtype=float)), older)
        kept = np.where(touched, online.values, frame[each.field].to_numpy(dtype=float))
        frame = frame.assign(**{each.field: kept})
        if online.status is not None:
            statuses[each.field] = np.where(touched, online.status, "PRESENT")
        if online.ages is not None:
            ages[each.field] = np.where(touched, online.ages, 600.0)
    return frame, statuses, ages


def _sent(
    frame: pd.DataFrame, traffic: Traffic, touched: np.ndarray
) -> tuple[list[Row], list[bytes]]:
    plain = frame.assign(
        **{
            name: frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S")
            for name in frame.columns
            if frame[name].dtype.kind == "M"
        }
    )
    right = plain.astype(object).where(frame.notna(), None).to_dict(orient="records")
    faults = [each for each in traffic.faults if isinstance(each, ClientFault)]
    records, bodies = [], []
    for at, record in enumerate(right):
        body = None
        row: Row = {str(name): value for name, value in record.items()}
        for fault in faults if touched[at] else []:
            body = fault.body(row, at) if fault.raw else None
            row = fault.row(row, at)
        records.append(row)
        bodies.append(body or json.dumps({"dataframe_records": [row]}).encode())
    return records, bodies


def varied(traffic: Traffic, **changes: Any) -> Traffic:
    """The same with something else."""
    return replace(traffic, **changes)
