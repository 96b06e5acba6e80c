"""Replica processes: one per model and session for tests that leave it well, or one's own."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.replica.launch import Phase
from tests.integration.replica.process import Running
from tests.models import saved


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: that of a unix socket may have some hundred characters."""
    with tempfile.TemporaryDirectory(prefix="srn-") as path:
        yield Path(path)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Running]]:
    """Starts a replica of the named model that this test may ill-treat."""
    started: list[Running] = []

    def begin(name: str, **more: Any) -> Running:
        running = Running(home / str(len(started)), saved(name), **more)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.end()


@pytest.fixture(scope="session")
def serving() -> Iterator[Callable[[str], Running]]:
    """The session's replica of the named model; tests must leave it as it was."""
    with tempfile.TemporaryDirectory(prefix="srn-") as path:
        known: dict[str, Running] = {}

        def get(name: str) -> Running:
            if name not in known:
                known[name] = Running(Path(path) / str(len(known)), saved(name))
                status = known[name].settled()
                assert status.phase is Phase.READY, status.message
            return known[name]

        yield get
        for running in known.values():
            running.end()
