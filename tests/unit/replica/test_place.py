"""Where a model that can't be loaded went wrong: in a file that its author can open."""

import os
from pathlib import Path

import pytest

from serinus.replica.main import _place


def test_a_missing_variable_is_told_with_the_model_own_line() -> None:
    with pytest.raises(KeyError) as raised:
        os.environ["SERINUS_TEST_NO_SUCH_VARIABLE"]
    told = _place(raised.value)
    assert told.startswith("KeyError: 'SERINUS_TEST_NO_SUCH_VARIABLE' (in test_a_missing_variable")
    assert f"{Path(__file__).name} line " in told
