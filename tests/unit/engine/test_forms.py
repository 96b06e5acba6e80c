"""What was found out of a model is kept while somebody uses it, and for days after."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serinus.engine.engine import ReplicaSpec
from serinus.engine.forms import Forms, forms_path
from serinus.entities import EnvironmentRef, Optimize

PATH = Path("/home")
SPEC = ReplicaSpec("r1", "g", "d", EnvironmentRef("e", "/python", "built"))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_found_out_is_kept_by_all_that_can_change_it() -> None:
    one = forms_path(PATH, SPEC)
    assert one == forms_path(PATH, replace(SPEC, replica_id="r2", group="h", fence_epoch=3))
    others = [
        replace(SPEC, model_digest="d2"),
        replace(SPEC, environment=EnvironmentRef("e2", "/python", "built")),
        replace(SPEC, env_vars={"A": "1"}),
        replace(SPEC, optimize=Optimize.ONNX),
    ]
    assert len({one, *(forms_path(PATH, each) for each in others)}) == 5


class Scene:
    """A home on a clock that the test moves; a replica writes what it finds out when it starts."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.at = BEGIN
        self.forms = Forms(home, lambda: self.at)

    def start(self, model: str, running: str = "") -> None:
        path = self.forms.place(_spec(model), [_spec(each) for each in running.split()])
        if not path.exists():
            path.mkdir(parents=True)
            (path / "direct.json").write_text("{}")
            os.utime(path, (self.at.timestamp(), self.at.timestamp()))

    def pass_days(self, days: float) -> None:
        self.at += timedelta(days=days)

    @property
    def kept(self) -> set[str]:
        return {each for each in "abc" if forms_path(self.home, _spec(each)).exists()}


def _spec(model: str) -> ReplicaSpec:
    return replace(SPEC, model_digest=model)


def test_what_nobody_has_used_for_days_goes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.start("a")
    scene.pass_days(6.9)
    scene.start("b")
    assert scene.kept == {"a", "b"}
    scene.pass_days(0.2)
    scene.start("b")
    assert scene.kept == {"b"}


def test_each_start_is_a_use(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.start("a")
    for _ in range(3):
        scene.pass_days(6)
        scene.start("a")
    scene.pass_days(6)
    scene.start("b")
    assert scene.kept == {"a", "b"}


def test_what_runs_is_used_however_long_ago_it_started(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.start("a")
    scene.start("c")
    scene.pass_days(400)
    scene.start("b", running="a")
    assert scene.kept == {"a", "b"}
