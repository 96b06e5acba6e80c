"""The diagnosis matrix: what `diagnose` says of known faults, genuine shifts and healthy traffic.

``python -m bench.diagnosis`` prints it and writes results/diagnosis.json; everything runs in this
process, through the real intake, counts and golden replay. bench.diagnosis_live asks a server.
``--world held-out --keep since`` runs the worlds that no rule was written looking at.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bench.diagnosis_cases import Case, cases, controls, shifts
from bench.diagnosis_data import Study, diamonds, flights
from bench.diagnosis_held_out import orders, tumours, visits
from bench.diagnosis_houses import houses
from bench.diagnosis_page import HELD, PROCESS, keep
from bench.diagnosis_plans import held_out_cases
from bench.diagnosis_readings import few_wines, readings, wines
from bench.diagnosis_traffic import CALLERS, varied
from bench.diagnosis_world import World, world
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.finding import Confidence, Diagnosis, Verdict

__all__ = ["Judged", "judge", "main", "matrix", "right"]

STUDIES = {"flights": flights, "diamonds": diamonds}
#: That no rule was written looking at.
HELD_OUT = {
    "tumours": tumours,
    "orders": orders,
    "visits": visits,
    "houses": houses,
    "readings": readings,
    "few-wines": few_wines,
    "wines": wines,
}
_CRASHED = "crashed"


@dataclass(frozen=True)
class Judged:
    """One case and what was said of it."""

    case: Case
    said: Diagnosis

    @property
    def right(self) -> bool:
        """Whether the class is the right one, and no other fault is hidden by it."""
        told = {each.verdict.value for each in self.said.findings}
        named = {name for each in self.said.findings for name in each.features}
        if self.said.detail.startswith(_CRASHED):
            return False
        known = (self.case.right, self.case.unless) if self.case.right else told
        first = self.said.verdict.value in known
        return first and told.issuperset(self.case.also) and named.issuperset(self.case.features)

    @property
    def row(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "number": self.case.number,
            "name": self.case.name,
            "is": self.case.right or " + ".join(self.case.also),
            "also": list(self.case.also),
            "said": self.said.verdict.value,
            "detail": self.said.detail,
            "right": self.right,
        }


def judge(where: World, some: Iterable[Case], *, show: bool = False) -> list[Judged]:
    """Run the cases."""
    found = []
    for case in some:
        snapshot = where.snapshot(case.traffic)
        try:
            each = Judged(case, diagnose(snapshot))
        except Exception as error:  # noqa: BLE001 - it must never fail; that it did is a miss
            each = Judged(case, _crashed(error))
        found.append(each)
        if show and not each.right:
            patterns = "; ".join(
                f"{f.detail} {f.pattern} {','.join(f.features[:3])} ({f.confidence.value})"
                for f in each.said.findings[:3]
            )
            said = f"{each.said.detail} [{patterns}] {each.said.notes[:2]}"
            print(f"  {case.number:6} {case.name}: {case.right}, said {said}", flush=True)
    return found


def _crashed(error: Exception) -> Diagnosis:
    return Diagnosis(
        verdict=Verdict.INCONCLUSIVE,
        detail=f"{_CRASHED}: {type(error).__name__}",
        confidence=Confidence.INCONCLUSIVE,
        notes=[str(error)],
    )


def of_one_caller(some: Iterable[Case]) -> list[Case]:
    """Clients' faults as one caller sends them, from noon on."""
    return [
        Case(
            f"{case.number}c",
            f"{case.name}, one caller from 12:00",
            case.right,
            varied(case.traffic, caller=CALLERS[1], hour=12, rows=12_000),
        )
        for case in some
        if case.by_caller
    ]


def right(some: list[Judged]) -> str:
    """A share in words."""
    good = sum(each.right for each in some)
    return f"{good}/{len(some)} ({good / max(len(some), 1):.1%})"


def matrix(some: list[Judged]) -> str:
    """Classes that are right, by row, against what was said."""
    counts = Counter((each.row["is"], each.said.verdict.value) for each in some)
    rows = sorted({is_ for is_, _ in counts})
    columns = sorted({said for _, said in counts})
    lines = ["".join([f"{'is, said:':15}", *(f"{each[:12]:>14}" for each in columns)])]
    for row in rows:
        lines.append("".join([f"{row:15}", *(f"{counts[row, c] or '.':>14}" for c in columns)]))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the matrix of each study and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=[*STUDIES, *HELD_OUT, "all", "held-out"], default="all")
    parser.add_argument("--model", choices=["linear", "tree", "all"], default="all")
    parser.add_argument("--controls", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="no callers, a dozen controls")
    parser.add_argument("--only", default="", help="numbers of cases, with commas between")
    parser.add_argument("--keep", default="", help="of held-out worlds: under which name to keep")
    asked = parser.parse_args(arguments)
    for name, make in (STUDIES | HELD_OUT).items():
        group = "all" if name in STUDIES else "held-out"
        if asked.world in (name, group):
            study = make()
            for kind, usual in zip(study.kinds, ("linear", "tree"), strict=True):
                if asked.model in (usual, "all"):
                    (_held_out if name in HELD_OUT else _run)(study, kind, name, asked)
    return 0


def _held_out(study: Study, kind: str, name: str, asked: argparse.Namespace) -> None:
    """Client's and store's faults on one model; what depends on the model on both."""
    begun = time.monotonic()
    where = world(study, kind)
    print(f"\n{study.name}, {kind} model", flush=True)
    linear = kind == study.kinds[0]
    some = list(held_out_cases(study, shares=linear))
    if asked.only:
        some = [each for each in some if any(part in each.name for part in asked.only.split(","))]
    groups = {"faults": judge(where, some, show=True)}
    if not asked.only:
        if linear:
            groups["shifts"] = judge(where, shifts(study), show=True)
        count = asked.controls if linear else asked.controls // 5
        groups["controls"] = judge(where, controls(count, study), show=True)
    rows = {group: [each.row for each in some] for group, some in groups.items()}
    if asked.keep:
        keep(HELD, f"{name}, {kind}, {asked.keep}", rows)
    print(matrix([each for some in groups.values() for each in some]))
    print("; ".join(f"{group} {right(some)}" for group, some in groups.items()), flush=True)
    print(f"{time.monotonic() - begun:.0f} s", flush=True)


def _run(study: Study, kind: str, name: str, asked: argparse.Namespace) -> None:
    begun = time.monotonic()
    where = world(study, kind)
    print(f"\n{study.name}, {kind} model", flush=True)
    some = list(cases(study))
    if asked.only:
        wanted = asked.only.split(",")
        some = [each for each in some if each.number in wanted]
    faults = judge(where, some, show=True)
    callers = [] if asked.quick else judge(where, of_one_caller(some), show=True)
    if asked.only:
        return
    genuine = judge(where, shifts(study), show=True)
    healthy = judge(where, controls(12 if asked.quick else asked.controls), show=True)
    if not asked.quick:
        groups = {"faults": faults, "callers": callers, "shifts": genuine, "controls": healthy}
        rows = {name: [each.row for each in some] for name, some in groups.items()}
        keep(PROCESS, f"{name}, {kind}", rows)
    print(matrix([*faults, *callers, *genuine, *healthy]))
    print(
        f"fault cases right {right(faults)}; by one caller {right(callers)}; genuine shifts called "
        f"drift {right(genuine)}; healthy controls healthy {right(healthy)}; "
        f"{time.monotonic() - begun:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
