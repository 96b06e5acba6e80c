"""Epochs never go down, whoever asks."""

from pathlib import Path

import pytest

from serinus.engine.engine import FenceError
from serinus.engine.fence import Fence


def test_an_epoch_is_remembered_by_the_next_fence(tmp_path: Path):
    Fence(tmp_path).admit(4, ttl_s=10.0)
    with pytest.raises(FenceError, match="epoch 4 is in charge; this one has 3"):
        Fence(tmp_path).admit(3)
    assert Fence(tmp_path).admit(5).ttl_s == 10.0


def test_being_refused_is_no_sign_of_life(tmp_path: Path):
    fence = Fence(tmp_path)
    fence.admit(4)
    before = fence.lease_path.stat().st_mtime_ns
    with pytest.raises(FenceError):
        fence.admit(3)
    assert fence.lease_path.stat().st_mtime_ns == before
