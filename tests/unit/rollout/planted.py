"""A copy of the machine with a bug planted in its source, beside the real one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import serinus.rollout
from tests.unit.rollout.rules import Rules

#: From the bottom up: what is loaded later imports what was loaded before it.
_MODULES = ("gate", "moves", "routing", "consequences", "tick", "verbs", "machine")
_FOLDER = Path(serinus.rollout.__file__).parent


def planted(bugs: dict[str, tuple[str, str]]) -> Rules:
    """The rules with, per module, one piece of its source replaced by another."""
    with _aside():
        loaded = {name: _load(name, bugs.get(name)) for name in _MODULES}
    machine, routing = loaded["machine"], loaded["routing"]
    return Rules(machine.decide, routing.routing, routing.pools)


def _load(name: str, bug: tuple[str, str] | None) -> ModuleType:
    path = _FOLDER / f"{name}.py"
    source = path.read_text(encoding="utf-8")
    if bug is not None:
        assert source.count(bug[0]) == 1, f"{name}.py has {source.count(bug[0])} of {bug[0]!r}"
        source = source.replace(*bug)
    full = f"serinus.rollout.{name}"
    module = ModuleType(full)
    module.__file__ = str(path)
    sys.modules[full] = module
    setattr(serinus.rollout, name, module)
    exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - our own source
    return module


@contextmanager
def _aside() -> Iterator[None]:
    real = {name: sys.modules[f"serinus.rollout.{name}"] for name in _MODULES}
    try:
        yield
    finally:
        for name, module in real.items():
            sys.modules[f"serinus.rollout.{name}"] = module
            setattr(serinus.rollout, name, module)
