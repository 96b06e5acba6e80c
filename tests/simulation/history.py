"""Short random histories, each from somewhere in the middle of a rollout, each from one seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from serinus.rollout.state import Phase
from tests.simulation.scenarios import BY_EVIDENCE, BY_TIME, serving
from tests.simulation.steps import Step, draw, take
from tests.simulation.world import World

__all__ = ["History", "replay", "seeded", "shorter", "starts"]

_LENGTH = 12
_STEPS = [{"set_weight": "10%"}, {"set_weight": "50%"}]
_BAKE = {"holdback": "5%", "for": "20s"}
_SHADOW = {"shadow": {"percent": 50, "until": {"requests": 5}}}


@dataclass(frozen=True, slots=True)
class History:
    """Where it begins, and what then happens."""

    start: str
    steps: tuple[Step, ...]

    def text(self) -> str:
        """One line that `parse` reads."""
        return " ".join([self.start, *(f"{name}:{number}" for name, number in self.steps)])

    @staticmethod
    def parse(line: str) -> "History":
        """The history of a line."""
        start, *steps = line.split()
        parted = (step.rpartition(":") for step in steps)
        return History(start, tuple((name, int(number)) for name, _, number in parted))


def seeded(seed: int) -> History:
    """The history of a seed."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    names = sorted(starts())
    start = names[int(chance.random() * len(names))]
    return History(start, tuple(draw(chance, _LENGTH)))


def replay(history: History) -> World:
    """Let it happen; raises Violation, or whatever else went wrong, and gives back the world."""
    world = starts()[history.start].copy()
    world.replace_controller()
    for step in history.steps:
        take(world, step)
    return world


def shorter(history: History, error: type[BaseException]) -> History:
    """The same failure with as few steps as leaving them out one by one comes to."""
    steps: Sequence[Step] = history.steps
    index = 0
    while index < len(steps):
        without = History(history.start, (*steps[:index], *steps[index + 1 :]))
        try:
            replay(without)
        except error:
            steps = without.steps
        except Exception:  # noqa: BLE001 - another failure is not this one
            index += 1
        else:
            index += 1
    return History(history.start, tuple(steps))


@cache
def starts() -> dict[str, World]:
    """Worlds in which a history can begin."""
    begun = {"serving": serving()}
    base = begun["serving"]
    begun["asked"] = _driven(base, None, steps=_STEPS, bake=None, **BY_TIME)
    begun["at-ten"] = _driven(base, 1000, steps=_STEPS, bake=None, **BY_TIME)
    begun["at-ten-by-evidence"] = _driven(base, 1000, steps=_STEPS, bake=_BAKE, **BY_EVIDENCE)
    begun["at-half"] = _driven(base, 5000, steps=_STEPS, bake=None, **BY_EVIDENCE)
    begun["with-control"] = _driven(base, 1000, steps=_STEPS, control=True, **BY_EVIDENCE)
    begun["shadowing"] = _driven(base, Phase.SHADOWING, steps=[_SHADOW, *_STEPS], **BY_TIME)
    preview: dict[str, Any] = {"strategy": "blue-green", "cutover": "approve", "bake": None}
    begun["preview"] = _driven(base, Phase.PAUSED, **preview, **BY_TIME)
    told = {"notify": [{"webhook": "http://127.0.0.1/hook"}], "registry_alias": "a"}
    begun["baking"] = _driven(base, Phase.BAKING, steps=_STEPS, bake=_BAKE, **told, **BY_EVIDENCE)
    begun["won"] = _driven(base, Phase.SUCCEEDED, steps=_STEPS, bake=None, **told, **BY_TIME)
    begun["aborted"] = begun["at-half"].copy()
    begun["aborted"].ask("abort")
    begun["lost"] = begun["aborted"].copy()
    begun["lost"].until(lambda: begun["lost"].phase() is Phase.ROLLED_BACK)
    begun["updating"] = base.copy()
    begun["updating"].update(2)
    return {name: world.copy() for name, world in begun.items()}


def _driven(base: World, until: Phase | int | None, **spec: Any) -> World:
    world = base.copy()
    world.replace_controller()
    world.roll_out(2, **spec)
    if isinstance(until, Phase):
        world.until(lambda: world.phase() is until)
    elif until is not None:
        world.until(lambda: world.state().candidate_bp == until)
    return world
