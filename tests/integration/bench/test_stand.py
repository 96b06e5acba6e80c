"""A peer on its stand, with a server that answers a constant: proved, frozen, woken, left out."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.models import BenchModel
from bench.peers.catalogue import LIMITS
from bench.peers.models import Case
from bench.peers.stand import LeftOut, Stand
from bench.processes import ask

_CONSTANT = LIMITS["constant"]


@pytest.fixture
def case(tmp_path):
    model = BenchModel("m0", tmp_path / "m0", [], [])
    return Case("M0", model, Path("m0.pkl"), ["a"], [[1.0], [2.0]], [[7]] * 2, [[7]] * 2)


@pytest.fixture
def stand(case, tmp_path):
    made = Stand(_CONSTANT, case, tmp_path)
    made.begin(starts=2)
    yield made
    made.stop()


def test_a_frozen_peer_answers_nobody_until_it_is_woken(stand):
    assert len(stand.solo.cold_starts_s) == 2
    stand.freeze()
    with pytest.raises(TimeoutError):
        ask(stand.tree.port, stand.asked[0], timeout=0.3)
    stand.wake()
    assert ask(stand.tree.port, stand.asked[0])[0] == 200
    assert stand.solo.restarts == 0
    stand.weigh()
    assert stand.solo.processes == 1
    assert stand.solo.pss_mib > 1


def test_one_that_has_ended_while_it_was_frozen_is_started_again(stand):
    stand.freeze()
    stand.wake_processes()
    stand.tree.stop()
    stand.wake()
    assert stand.solo.restarts == 1
    assert ask(stand.tree.port, stand.asked[0])[0] == 200


def test_who_answers_wrongly_is_not_measured(case, tmp_path):
    # The server's constant is another than the model's answer.
    wrong = Stand(replace(_CONSTANT, constant=False, deadline=1.5), case, tmp_path)
    with pytest.raises(LeftOut, match="no right answer in 2 s; last: status 200"):
        wrong.begin(starts=1)
    with pytest.raises(RuntimeError, match="does not run"):
        _ = wrong.tree


def test_who_answers_only_some_rows_rightly_is_not_measured(case, tmp_path):
    # The first row's answer is the server's constant, the second's is not.
    mixed = replace(case, plain=[[1], [2]])
    wrong = Stand(replace(_CONSTANT, constant=False), mixed, tmp_path)
    with pytest.raises(LeftOut, match="answers request 1 wrongly"):
        wrong.begin(starts=1)
