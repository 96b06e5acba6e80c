"""A pipeline with everything in it, for tests that leave its files as they are."""

import pickle
import shutil
from pathlib import Path

import pytest

from serinus.contract import capture
from serinus.parity.folder import Bundle
from tests.integration.parity.faulty import quiet


@pytest.fixture(scope="session")
def flights_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A pipeline with everything in it, saved and captured."""
    from tests.models import flights, late, saved

    path = Path(shutil.copytree(saved("flights-1"), tmp_path_factory.mktemp("faults") / "flights"))
    frame = flights(400)
    pipeline = pickle.loads((path / "model.pkl").read_bytes())  # noqa: S301 - our own
    return path, capture(pipeline, frame, late(frame), into=path, golden=64, say=quiet)
