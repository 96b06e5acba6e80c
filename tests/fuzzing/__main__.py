"""`python -m tests.fuzzing [TARGET …] [--seconds 60]`: coverage-guided, for hours if need be.

Needs atheris (`make fuzz` installs it). What it finds stays in `.fuzz/` and is printed.
"""

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_WATCHED = (
    "serinus.replica.protocol",
    "serinus.replica.envelope",
    "serinus.replica.keys",
    "serinus.replica.intake",
    "serinus.replica.tensor",
    "serinus.replica.oip",
    "serinus.gateway.head",
    "serinus.gateway.edge",
    "serinus.gateway.reader",
    "serinus.gateway.encoding",
    "serinus.engine.registry",
)


def main() -> int:
    """Each target in a process of its own; 1 if one of them found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        _fuzz(asked.targets[0], asked.seconds)
        return 0
    from tests.fuzzing.targets import TARGETS

    failed = []
    for name in asked.targets or list(TARGETS):
        print(f"--- {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzzing", name, "--inside"]
        done = subprocess.run([*command, "--seconds", str(asked.seconds)], cwd=_ROOT, check=False)
        if done.returncode:
            failed.append(name)
    print(f"found something: {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    # Imported under its eyes; without their branches it would only guess.
    with atheris.instrument_imports(include=list(_WATCHED), enable_loader_override=False):
        for module in _WATCHED:
            importlib.import_module(module)
        from tests.fuzzing.targets import TARGETS
    found = _ROOT / ".fuzz" / name
    corpus = found / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", "-max_len=4096"]
    options += ["-verbosity=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(corpus), *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
