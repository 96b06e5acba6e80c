"""What a diagnosis says of what it could and could not look at must be true."""

from dataclasses import replace

import msgspec
import pytest

from serinus.parity.buckets import Buckets
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.values import Snapshot
from serinus.parity.sketch import OTHER_CALLER
from tests.unit.parity.diagnosis.known import CALLERS, rows_like_training, snapshot

_FACTOR = 3.28084


def _of_caller(asked: Snapshot, caller: str) -> Snapshot:
    return replace(asked, scope=msgspec.structs.replace(asked.scope, caller=caller))


def test_ages_without_a_known_limit_exclude_no_staleness() -> None:
    asked = snapshot(rows_like_training(2000, 3), looked_up=("stock",))
    for sketch in asked.live.values():
        sketch.fields["stock"].ages = Buckets(40, [len(CALLERS)])
    found = diagnose(asked)
    assert "staleness" not in {each.fault for each in found.excluded}
    assert "How old stock may be is not known: declare max_age in the contract." in found.missing


@pytest.mark.parametrize("several", [False, True])
def test_of_a_caller_that_is_not_told_apart_it_says_who_is(*, several: bool) -> None:
    asked = snapshot(rows_like_training(2000, 3))
    if several:
        live = {
            msgspec.structs.replace(key, caller=OTHER_CALLER)
            if key.caller == "app"
            else key: sketch
            for key, sketch in asked.live.items()
        }
        asked = replace(asked, live=live)
    [told] = [each for each in diagnose(_of_caller(asked, "batch")).missing if "batch" in each]
    who = "other, web" if several else "app, web"
    assert f"No live traffic of caller 'batch' was counted in the window, but of {who}." in told
    assert ("counted together, as 'other'" in told) is several


def test_a_field_that_a_finding_explains_is_not_told_as_alike() -> None:
    cells = rows_like_training(8000, 3)
    cells["stock"] = [each * _FACTOR for each in cells["stock"]]
    [told] = [each.test for each in diagnose(snapshot(cells)).excluded if each.fault == "drift"]
    assert "but for stock, which a finding explains" in told
