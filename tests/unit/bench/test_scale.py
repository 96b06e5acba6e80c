"""How costs grow, and the page that says so."""

import json
import math

import pytest

from bench.scale_growth import IDLE_PERCENT, LINEAR, growths, idle_excess, slope
from bench.scale_page import COSTS, PAGE, RESULTS, rendered


def curve(power: float, numbers: tuple[int, ...] = (1, 10, 100)) -> list[tuple[float, float]]:
    return [(float(n), 3.0 * n**power) for n in numbers]


def test_slopes_are_powers():
    for power in (0.0, 0.5, 1.0, 2.0):
        assert slope(curve(power)) == pytest.approx(power)
    assert slope([(1, 0.0), (10, 0.0)]) == 0.0
    assert slope([(1, 0.0), (10, 0.2)]) == math.inf
    with pytest.raises(ValueError, match="two numbers"):
        slope([(5, 1.0), (5, 2.0)])


def test_what_bends_up_at_the_end_is_not_linear():
    def told(costs: list[float]) -> bool:
        points = [{"n": 10**at, "turn_ms": cost} for at, cost in enumerate(costs)]
        (found,) = growths({"turns": points}, COSTS)
        return found.linear

    assert told([1.0, 1.0, 10.0])
    assert told([5.0, 5.0, 5.0, 5.0])
    # Through all four points the slope is below one.
    assert not told([1.0, 1.0, 1.0, 10.0 ** (LINEAR + 0.1)])
    assert not told([1.0, 20.0, 400.0])


def test_idle_endpoints_may_cost_next_to_nothing():
    def more(first: float, last: float, replicas: float) -> dict[str, object]:
        points = [
            {"n": 1, "idle_percent": first, "replicas_idle_percent": replicas},
            {"n": 500, "idle_percent": last, "replicas_idle_percent": replicas},
        ]
        (found,) = idle_excess({"endpoints": points, "rows": [{"n": 1}]})
        return found

    assert more(0.1, 0.2, 0.0) == {
        "section": "endpoints",
        "n": 500,
        "percent_more": 0.1,
        "allowed": IDLE_PERCENT,
        "met": True,
    }
    assert not more(0.1, 0.2 + IDLE_PERCENT, 0.0)["met"]
    assert not more(0.1, 0.1, IDLE_PERCENT + 0.1)["met"]


def test_the_page_says_what_the_results_say():
    report = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page, report) == page
    report["sections"]["endpoints"][0]["gateway_us"] += 1000.0
    assert rendered(page, report) != page
    # What bends up is known, and the page tells it; anything else is to be looked at first.
    steep = {(each["section"], each["cost"]) for each in report["growth"] if not each["linear"]}
    assert steep <= {("rows", "gateway_us")}
    assert ("One cost bends up" in page) == bool(steep)
    assert {each["met"] for each in report["idle"]} == {True}
