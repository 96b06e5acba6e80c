"""Ways in which a right number becomes a wrong one, each with the way back.

Factors are of units that people mix up; a factor that is in no catalogue is found by shifting
logarithmic histograms over each other.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from serinus.parity.diagnosis.view import Numbers
from serinus.parity.profiles import GAMMA

__all__ = ["CATALOGUE", "Inverse", "changes", "divided_by", "free_factor", "snapped", "wraps"]

_FACTORS = {
    "mi → km": 1.609344,
    "ft → m": 0.3048,
    "in → cm": 2.54,
    "in → mm": 25.4,
    "ft → in": 12.0,
    "yd → m": 0.9144,
    "ft² → m²": 0.09290304,
    "acre → ha": 0.40468564,
    "lb → kg": 0.45359237,
    "oz → g": 28.349523,
    "gal → l": 3.785411784,
    "mph → m/s": 0.44704,
    "km/h → m/s": 1 / 3.6,
    "kn → m/s": 0.514444,
    "kn → km/h": 1.852,
    "inHg → hPa": 33.863886,
    "mmHg → hPa": 1.333224,
    "psi → kPa": 6.894757,
    "mg/dl → mmol/l (glucose)": 1 / 18.0182,
    "mg/dl → mmol/l (cholesterol)": 1 / 38.67,
    "kcal → kJ": 4.184,
    "deg → rad": math.pi / 180,
    "ct → g": 0.2,
    "1 → 7": 7.0,
    "1 → 12": 12.0,
    "1 → 24": 24.0,
    "1 → 60": 60.0,
    "1 → 1,440": 1440.0,
    "1 → 3,600": 3600.0,
    "1 → 86,400": 86400.0,
    "1 → 365": 365.25,
    "x 10": 10.0,
    "x 100": 100.0,
    "x 1,000": 1000.0,
    "x 1,000,000": 1e6,
    "KiB": 1024.0,
}
#: Smaller factors are not told from a genuine change of scale.
_LEAST = 1.25
_RANGE = 800


@dataclass(frozen=True)
class Inverse:
    """A change of values, named by what was done to them, and its inverse."""

    name: str
    back: Callable[[Any], Any]
    factor: float | None = None


def _unwrapped(size: float) -> Callable[[Any], Any]:
    return lambda values: np.where(values < 0, values + size, values)


def divided_by(factor: float) -> Callable[[Any], Any]:
    return lambda values: values / factor


def _catalogue() -> Iterator[Inverse]:
    for name, factor in _FACTORS.items():
        if max(factor, 1 / factor) < _LEAST:
            continue
        one, _, other = name.partition(" → ")
        yield Inverse(f"x {factor:.6g} ({name})", divided_by(factor), factor)
        back = f"{other} → {one}" if other else f"1/{name.removeprefix('x ')}"
        yield Inverse(f"x {1 / factor:.6g} ({back})", divided_by(1 / factor), 1 / factor)
    yield Inverse("°F → °C", lambda values: values * 9 / 5 + 32)
    yield Inverse("°C → °F", lambda values: (values - 32) * 5 / 9)
    yield Inverse("°C → K", lambda values: values - 273.15)
    yield Inverse("K → °C", lambda values: values + 273.15)
    yield Inverse("°F → K", lambda values: (values - 273.15) * 9 / 5 + 32)
    yield Inverse("sign turned", lambda values: -values)
    yield Inverse("logarithm taken", lambda values: np.exp(np.clip(values, -50, 50)))
    yield Inverse("log1p taken", lambda values: np.expm1(np.clip(values, -50, 50)))


#: Every change that has a name.
CATALOGUE = tuple(_catalogue())


def changes() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every change of `CATALOGUE` as it was done, not undone."""
    for each in CATALOGUE:
        if each.factor is not None:
            yield each.name, divided_by(1 / each.factor)
    yield "°F → °C", lambda values: (values - 32) * 5 / 9
    yield "°C → °F", lambda values: values * 9 / 5 + 32
    yield "°C → K", lambda values: values + 273.15
    yield "K → °C", lambda values: values - 273.15
    yield "sign turned", lambda values: -values
    yield "logarithm taken", np.log
    yield "log1p taken", np.log1p


def wraps() -> Iterator[Inverse]:
    """Whole numbers that ran over the end of a type: what is negative came round."""
    for bits in (8, 16, 32):
        yield Inverse(f"{bits}-bit overflow", _unwrapped(float(2**bits)))


def free_factor(live: Numbers, trained: Numbers) -> Inverse | None:
    """The factor by which the logarithmic histogram of ``live`` fits best over training's."""
    one, other = _histogram(live), _histogram(trained)
    if one is None or other is None:
        return None
    # Smoothed, since buckets of whole numbers are gappy; correlated at every shift.
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    one, other = np.convolve(one, kernel, "same"), np.convolve(other, kernel, "same")
    match = np.correlate(one, other, "full")
    middle = len(match) // 2
    shift = int(np.argmax(match)) - middle
    factor = GAMMA**shift
    if max(factor, 1 / factor) < _LEAST:
        return None
    return Inverse(f"x {factor:.3g}", divided_by(factor), factor)


def _histogram(numbers: Numbers) -> Any | None:
    positive = numbers.only(numbers.values > 0)
    if not positive.total:
        return None
    place = np.ceil(np.log(positive.values) / math.log(GAMMA)).astype(np.int64) + _RANGE
    place = np.clip(place, 0, 2 * _RANGE)
    counts = np.bincount(place, weights=positive.weights, minlength=2 * _RANGE + 1)
    return np.sqrt(counts / counts.sum())


def snapped(values: Any, grid: float | None) -> Any:
    """The nearest values on training's grid: a unit that was rounded comes back whole."""
    if grid is None:
        return values
    return np.round(values / grid) * grid
