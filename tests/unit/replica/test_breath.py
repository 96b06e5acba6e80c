"""Long work lets go of the interpreter's lock again and again, and loses nothing by it."""

import pytest

from serinus.replica.breath import Breath, let_go, with_pauses


def test_every_item_comes_once_with_pauses_between() -> None:
    seen: list[object] = []
    for item in with_pauses(iter(range(100)), lambda: seen.append("pause")):
        seen.append(item)
    assert [each for each in seen if each != "pause"] == list(range(100))
    assert [at for at, each in enumerate(seen) if each == "pause"] == [32, 65, 98]


def test_a_list_is_emptied_in_parts() -> None:
    items, left = list(range(70)), []
    let_go(items, lambda: left.append(len(items)))
    assert items == []
    assert left == [38, 6, 0]


def test_it_rests_by_how_much_it_has_worked_within_bounds() -> None:
    rests: list[float] = []
    # Read before and after each rest.
    worked = iter([9.0, 9.0, 9.0002, 9.0002, 9.0002, 9.0003])
    breath = Breath(lambda: next(worked), rests.append)
    for _ in range(3):
        breath()
    assert rests == pytest.approx([0.005, 0.0006, 0.00005])
