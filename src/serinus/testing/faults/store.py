"""Faults of looked-up values: what an online store gives in place of the true value.

Columns go in and come out; the offline truth is left as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["STORE", "Online", "StoreFault"]


@dataclass
class Online:
    """One looked-up feature for some rows, as the online store gave it."""

    values: Any
    #: What the lookup said; None: it says nothing.
    status: Any | None = None
    #: Seconds; None: it says nothing.
    ages: Any | None = None


@dataclass(frozen=True)
class StoreFault:
    """A change of one feature's looked-up values."""

    spec: str
    field: str
    change: Callable[[Online, Any, Sequence[str], Any], Online]
    arguments: tuple[str, ...]
    share: float = 1.0
    seed: int = 0

    def applied(self, online: Online, older: Any) -> Online:
        """``older``: the values that were true some days before."""
        random = np.random.default_rng(self.seed)
        touched = random.random(len(online.values)) < self.share
        return self.change(online, touched, self.arguments, older)


def _miss(online: Online, touched: Any, _: Sequence[str], __: Any) -> Online:
    status = np.where(touched, "NOT_FOUND", "PRESENT").astype(object)
    return Online(np.where(touched, np.nan, online.values), status, online.ages)


def _silent_miss(online: Online, touched: Any, _: Sequence[str], __: Any) -> Online:
    return Online(np.where(touched, np.nan, online.values), online.status, online.ages)


def _constant(online: Online, touched: Any, arguments: Sequence[str], _: Any) -> Online:
    return Online(np.where(touched, float(arguments[0]), online.values), online.status, online.ages)


def _stale(online: Online, touched: Any, _: Sequence[str], older: Any) -> Online:
    return Online(np.where(touched, older, online.values), online.status, online.ages)


def _aged(online: Online, touched: Any, arguments: Sequence[str], older: Any) -> Online:
    hours = float(arguments[0])
    return Online(
        np.where(touched, older, online.values),
        online.status,
        np.where(touched, hours * 3600.0, 600.0),
    )


def _scaled(online: Online, touched: Any, arguments: Sequence[str], _: Any) -> Online:
    values = np.where(touched, online.values * float(arguments[0]), online.values)
    return Online(values, online.status, online.ages)


def _other_row(online: Online, touched: Any, _: Sequence[str], __: Any) -> Online:
    order = np.random.default_rng(7).permutation(len(online.values))
    values = np.where(touched, online.values[order], online.values)
    return Online(values, online.status, online.ages)


#: Name → change.
STORE: dict[str, Callable[[Online, Any, Sequence[str], Any], Online]] = {
    "lookup-miss": _miss,
    "lookup-null": _silent_miss,
    "lookup-default": _constant,
    "lookup-stale": _stale,
    "lookup-aged": _aged,
    "lookup-unit": _scaled,
    "lookup-wrong-key": _other_row,
}
