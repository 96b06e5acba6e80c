"""Cases of the diagnosis matrix on a running server: which endpoint and caller each one gets.

Faults of clients, stores and the world are callers of an endpoint that is right, eight at most;
a fault inside of an endpoint has an endpoint of its own. It judges nothing.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.diagnosis_artefacts import Artefacts
from bench.diagnosis_cases import Case
from bench.diagnosis_data import Study
from bench.diagnosis_salt import answered_by_two
from bench.diagnosis_server import Endpoint, Sent, Server
from bench.diagnosis_traffic import CALLERS, Drawn, Traffic, varied
from bench.diagnosis_world import World
from serinus.testing.faults import ClientFault

__all__ = ["Asked", "Station", "run", "stations"]

#: Callers that one replica tells apart.
_CALLERS = 8
#: Rows of one request, and requests a second: what a replica keeps as evidence is as many.
_ROWS, _PAUSE_S = 100, 0.1
#: Rows of a case, and of one whose fault is in a small part of them.
_USUAL, _MANY = 2400, 6000
_SMALL_SHARE = 0.25
#: Requests of one row each.
_SINGLE = 1000
#: The share of labels that are there early, and of rows decided no and yes whose label is known.
_EARLY, _KNOWN = 0.15, (0.2, 0.95)
_LAG_HOURS = (0, 24, 48, 72, 96, 120, 144, 168)


@dataclass
class Asked:
    """One case, what was sent, and what the server said of it."""

    case: Case
    sent: Sent
    said: dict[str, Any]

    @property
    def told(self) -> set[str]:
        """The classes of all findings."""
        return {each["verdict"] for each in self.said["findings"]}

    @property
    def right(self) -> bool:
        """Whether the class is the right one, and no other fault is hidden by it."""
        return self.said["verdict"] == self.case.right and self.told.issuperset(self.case.also)


@dataclass
class Station:
    """One endpoint and its cases; a single case speaks for all of the endpoint."""

    name: str
    cases: list[Case]
    alone: bool = False
    found: list[Asked] = field(default_factory=list)


def stations(cases: Iterable[Case], most: int = _CALLERS) -> list[Station]:
    """Where each case is run; at most so many, up to eight, are callers of one endpoint."""
    found: list[Station] = []
    shared: list[Case] = []
    for case in cases:
        if _needs_its_own(case.traffic):
            found.append(Station(f"case-{len(found)}", [case], alone=True))
        else:
            shared.append(case)
    for begin in range(0, len(shared), most):
        found.append(Station(f"case-{len(found)}", shared[begin : begin + most]))
    return found


def _needs_its_own(traffic: Traffic) -> bool:
    return bool(
        traffic.inside
        or traffic.environment
        or not traffic.artefact_equal
        or traffic.wrong_replicas
        or traffic.switched_units
        or traffic.leak
        or traffic.flipped
        or traffic.selected
    )


def run(station: Station, server: Server, where: World, artefacts: Artefacts) -> Station:
    """Serve, send, ask, and take the endpoint away."""
    endpoint = Endpoint(server.url, station.name)
    first = station.cases[0].traffic
    try:
        if first.wrong_replicas:
            _misroute(endpoint, server, artefacts, first.wrong_replicas)
        else:
            endpoint.create(artefacts.of(first))
        for at, case in enumerate(station.cases):
            caller = "" if station.alone else f"caller-{at}"
            drawn = where.drawn(_sized(case.traffic))
            if case.traffic.switched_units:
                candidate = artefacts.own(endpoint.name)
                sent = answered_by_two(endpoint, server, candidate, drawn)
            else:
                sent = _send(endpoint, drawn, case.traffic, caller)
            endpoint.counted(caller or None, sent.rows)
            if _has_labels(case.traffic):
                endpoint.tell(_labels(where.study, drawn, sent, case.traffic))
            offline = _offline(endpoint, where.study, drawn)
            said = endpoint.diagnosis(caller or None, offline)
            station.found.append(Asked(case, sent, said))
    finally:
        endpoint.delete()
    return station


def _misroute(endpoint: Endpoint, server: Server, artefacts: Artefacts, wrong: int) -> None:
    """Have some of two replicas serve the version before, under the name of the new one."""
    older = artefacts.older()
    endpoint.create(older, replicas=2)
    digest = endpoint.update(artefacts.own(endpoint.name), replicas=2)
    server.overwrite(digest, older)
    server.restart(digest, wrong)


def _sized(traffic: Traffic) -> Traffic:
    """As many rows as a case needs, and no more."""
    shares = [getattr(each, "share", 1.0) for each in traffic.faults]
    most = _MANY if min(shares, default=1.0) < _SMALL_SHARE else _USUAL
    return varied(traffic, rows=min(traffic.rows, most))


def _send(endpoint: Endpoint, drawn: Drawn, traffic: Traffic, caller: str) -> Sent:
    """All rows of a case, as fast as a replica keeps some of each request."""
    sent = Sent()
    for at, (body, rows) in enumerate(_requests(drawn, traffic)):
        begun = time.monotonic()
        endpoint.send(body, caller or CALLERS[at % len(CALLERS)], rows, sent)
        # Of single rows fewer than these are kept.
        pause = _PAUSE_S if rows > 1 else _PAUSE_S / 4
        time.sleep(max(0.0, pause - (time.monotonic() - begun)))
    return sent


def _requests(drawn: Drawn, traffic: Traffic) -> Iterator[tuple[bytes, int]]:
    raw = any(isinstance(each, ClientFault) and each.raw for each in traffic.faults)
    if raw or _has_labels(traffic):
        # A body that can't be written from rows; or an outcome, which is of one row.
        yield from ((body, 1) for body in drawn.bodies[:_SINGLE])
        return
    for begin in range(0, len(drawn.records), _ROWS):
        rows = slice(begin, begin + _ROWS)
        some = drawn.records[rows]
        body: dict[str, Any] = {"dataframe_records": some}
        if lookups := _lookups(drawn, rows):
            body["lookups"] = lookups
        yield json.dumps(body).encode(), len(some)


def _lookups(drawn: Drawn, rows: slice) -> dict[str, dict[str, list[Any]]]:
    """What a feature step says of its lookups, where the fault leaves it something to say."""
    found: dict[str, dict[str, list[Any]]] = {}
    for name, status in drawn.statuses.items():
        found.setdefault(name, {})["status"] = [str(each) for each in status[rows]]
    for name, ages in drawn.ages.items():
        found.setdefault(name, {})["age_s"] = [float(each) for each in ages[rows]]
    return found


def _has_labels(traffic: Traffic) -> bool:
    return bool(traffic.flipped or traffic.selected)


def _labels(study: Study, drawn: Drawn, sent: Sent, traffic: Traffic) -> list[dict[str, Any]]:
    """How the requests turned out, as far as somebody came to know it."""
    random = np.random.default_rng(5)
    some = _EARLY if traffic.labels is not None else 1.0
    told = []
    for place, (id_, scores) in zip(drawn.chosen, sent.answers, strict=False):
        label = int(study.labels[place])
        if random.random() < traffic.flipped:
            label = 1 - label
        share = some if not traffic.selected else _KNOWN[bool(scores[1] >= 0.5)]
        if random.random() < share:
            told.append({"request_id": id_, "value": label, "metric": "label"})
    return told


def _offline(endpoint: Endpoint, study: Study, drawn: Drawn) -> dict[str, Any] | None:
    """The true values of the sampled rows of this case, and older ones of the same keys."""
    if study.offline is None or study.key_frame is None:
        return None
    names = list(study.key_frame.columns)
    mine = study.key_frame.iloc[drawn.chosen].drop_duplicates()
    sampled = pd.DataFrame(endpoint.settled_keys(names), columns=names)
    if study.time is not None:
        sampled[study.time] = pd.to_datetime(sampled[study.time])
    wanted = mine.merge(sampled.astype(mine.dtypes.to_dict()).drop_duplicates(), on=names)
    if study.time is not None:
        lags = [pd.Timedelta(hours=each) for each in _LAG_HOURS]
        older = [wanted.assign(**{study.time: wanted[study.time] - lag}) for lag in lags]
        wanted = pd.concat(older).drop_duplicates()
    table = study.offline.merge(wanted, on=names)
    columns = {str(name): _cells(table[name]) for name in table.columns}
    body: dict[str, Any] = {"name": f"{study.name} offline", "keys": study.keys, "columns": columns}
    if study.time is not None:
        body["time"] = study.time
    if np.isfinite(study.max_age_s):
        body["max_age_s"] = study.max_age_s
    return body


def _cells(values: pd.Series) -> list[Any]:
    if values.dtype.kind == "M":
        values = values.dt.strftime("%Y-%m-%dT%H:%M:%S")
    cells: list[Any] = values.astype(object).where(values.notna(), None).tolist()
    return cells
