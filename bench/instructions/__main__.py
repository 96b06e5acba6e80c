"""`make bench-check`: counts the instructions of the hot paths and compares them with the record.

Callgrind counts what a process executes, not how long that takes: a busy machine changes nothing.
Exit code 0 when no path needs more than 5 % more than `results/instructions.json` says, 1 when one
does, 2 when nothing could be counted. ``--update`` records.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.instructions.compare import TOLERANCE, Verdict, compared, per_operation, total
from bench.instructions.drive import GROUPS

_RESULT = Path(__file__).parents[1] / "results" / "instructions.json"
_ROOT = Path(__file__).parents[2]
_PACKAGES = ("httptools", "msgspec", "numpy", "pandas", "uvloop")
_LIMIT_S = 600.0


class Uncountable(Exception):
    """Nothing could be counted; the message says what to do about it."""


def main() -> int:
    """Count, compare, show."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--update", action="store_true", help="record what is counted now")
    parser.add_argument("--only", default=",".join(GROUPS), help="some of " + ", ".join(GROUPS))
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="a share")
    asked = parser.parse_args()
    groups = [group for group in GROUPS if group in asked.only.split(",")]
    try:
        counted = count(groups)
    except Uncountable as error:
        print(error, file=sys.stderr)
        return 2
    record = json.loads(_RESULT.read_text(encoding="utf-8")) if _RESULT.exists() else {}
    known = {
        name: n
        for name, n in record.get("instructions", {}).items()
        if name.partition(".")[0] in groups
    }
    verdicts = compared(known, counted, asked.tolerance)
    _show(verdicts, record.get("with", {}))
    if asked.update:
        _RESULT.write_text(json.dumps(_recorded(record, counted, groups), indent=1) + "\n")
        return 0
    return int(any(each.fails for each in verdicts))


def count(groups: list[str]) -> dict[str, int]:
    """Instructions per operation of every path; raises Uncountable."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Uncountable(
            "Instructions are counted by callgrind, which is not on this machine: install the "
            "package 'valgrind' (apt-get install valgrind, dnf install valgrind)."
        )
    # Two at a time: most of it is their start-up.
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda group: _group(valgrind, group), groups))
    return {name: n for each in found for name, n in each.items()}


def _group(valgrind: str, group: str) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="serinus-count-") as place:
        parts = Path(place) / "parts"
        done = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", "--quiet", "--dump-before=getppid"),
                *(f"--callgrind-out-file={parts}", sys.executable),
                *("-m", "bench.instructions.drive", group),
            ],
            env=_environment(),
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise Uncountable(f"The paths of '{group}' could not be driven:\n{done.stderr[-2000:]}")
        names = [line.rpartition(" ") for line in done.stdout.splitlines()]
        count = len(list(Path(place).iterdir()))
        # Parts are numbered from 1; what came after the last mark has no number.
        files = [*(f"{parts}.{number}" for number in range(1, count)), str(parts)]
        totals = [total(Path(file).read_text(encoding="utf-8")) for file in files]
        return per_operation([(name, int(n)) for name, _, n in names], totals)


def _environment() -> dict[str, str]:
    fixed = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    return os.environ | fixed | threads


def _recorded(record: dict[str, Any], counted: dict[str, int], groups: list[str]) -> dict[str, Any]:
    kept = {
        name: n
        for name, n in record.get("instructions", {}).items()
        if name.partition(".")[0] not in groups
    }
    return {"with": _with(), "instructions": kept | counted}


def _with() -> dict[str, str]:
    """What else than our own code the counts depend on."""
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _show(verdicts: list[Verdict], recorded_with: dict[str, str]) -> None:
    print(f"{'instructions per operation':<36}{'recorded':>12}{'now':>12}{'change':>9}")
    for each in verdicts:
        print(
            f"{each.name:<36}{_n(each.recorded):>12}{_n(each.counted):>12}"
            f"{each.change:>+9.1%}  {each.said if each.said != 'same' else ''}"
        )
    other = {name: was for name, was in recorded_with.items() if _with().get(name) != was}
    if other:
        said = ", ".join(f"{name} {was} (here {_with()[name]})" for name, was in other.items())
        print(f"\nRecorded with {said}: the counts of others' code differ too. --update records.")


def _n(count: int | None) -> str:
    return "none" if count is None else f"{count:,}"


if __name__ == "__main__":
    raise SystemExit(main())
