"""What the demo claims, and whether it held. Pure: numbers in, sentences out."""

import math
from itertools import accumulate

from serinus.cli.demo.models import Version
from serinus.cli.demo.traffic import Report

__all__ = ["CONFIDENCE", "broken", "interval"]

#: A fair split falls outside this interval once in a thousand runs.
CONFIDENCE = 0.999


def broken(
    versions: list[Version], asked: dict[str, int], reports: dict[str, Report], failures: str
) -> list[str]:
    """A plain sentence for everything that the demo claims and that did not hold.

    ``asked`` is percent per served name; ``failures`` is empty when no request failed.
    """
    old, new = versions
    found = [failures] if failures else []
    strangers = sorted(reports.keys() - asked.keys())
    if strangers:
        found.append(f"Answers came from {', '.join(strangers)}, which nobody asked for.")
    found += _split(asked, reports)
    if new.auc <= old.auc:
        found.append(f"Version {new.number} is not better on held-out flights.")
    live_old, live_new = (_live_auc(reports, each) for each in (old, new))
    if live_old is None or live_new is None:
        found.append("One version got too few requests to measure its AUC.")
    elif live_new <= live_old:
        found.append(
            f"Live, version {new.number} has AUC {live_new:.3f}, version {old.number} "
            f"{live_old:.3f}: the new one is not better."
        )
    return found


def interval(trials: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """The exact binomial interval that leaves half of the rest on either side; 0 < share < 1."""
    tail = (1 - confidence) / 2
    low, high = 0, trials
    for count, below in enumerate(
        accumulate(_chance(each, trials, share) for each in range(trials))
    ):
        if below < tail:
            low = count + 1
        if below >= 1 - tail:
            high = count
            break
    return low, high


def _chance(count: int, trials: int, share: float) -> float:
    """The probability of exactly ``count`` of ``trials``, by logarithms so that none overflows."""
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return math.exp(ways + count * math.log(share) + (trials - count) * math.log1p(-share))


def _live_auc(reports: dict[str, Report], version: Version) -> float | None:
    report = reports.get(version.served_name)
    return report.auc if report is not None else None


def _split(asked: dict[str, int], reports: dict[str, Report]) -> list[str]:
    total = sum(report.requests for report in reports.values())
    name, percent = min(asked.items(), key=lambda each: each[1])
    got = reports[name].requests if name in reports else 0
    low, high = interval(total, percent / 100)
    if low <= got <= high:
        return []
    return [
        f"{name} got {got} of {total} requests, asked for {percent} %: outside the "
        f"{CONFIDENCE:.1%} interval of {low} to {high}."
    ]
