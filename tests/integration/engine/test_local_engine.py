"""The local engine keeps the engines' contract, with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.local_harness import LocalHarness
from tests.integration.engine_conformance import EngineConformance


class TestLocalEngine(EngineConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[LocalHarness]:
        harness = LocalHarness(tmp_path)
        yield harness
        harness.close()
