"""Which summaries the controller lacks: cumulative, until it has said that it keeps them."""

from dataclasses import replace

from serinus.evidence.exposure import Exposure
from serinus.evidence.summary import Arm, Exclusion, Flush, Ledger, StageSummary
from serinus.gateway.book import Book
from serinus.traffic import StageRoute

ONE = StageRoute("r1", 1, "salt", "old", "new", 1000)
TWO = replace(ONE, stage=2, candidate_bp=2000)


def book() -> Book:
    return Book(lambda: 0.0, lambda: 0.0)


def count(book: Book, route: StageRoute) -> None:
    """One thing more is known of that stage."""
    book.recorder(route).exclude(Arm.STABLE, Exclusion.FORCED)


def counted(flushed: tuple[int, list[StageSummary], list[Exposure]] | None) -> dict[int, int]:
    """Stage → how much that flush says of it."""
    if flushed is None:
        return {}
    return {each.stage: each.stable.excluded.get(Exclusion.FORCED, 0) for each in flushed[1]}


def test_a_flush_has_all_that_was_ever_counted() -> None:
    kept = book()
    count(kept, ONE)
    assert counted(kept.flush()) == {1: 1}
    count(kept, ONE)
    count(kept, TWO)
    assert counted(kept.flush()) == {1: 2, 2: 1}


def test_what_the_controller_keeps_is_not_sent_again_until_it_changes() -> None:
    kept = book()
    count(kept, ONE)
    count(kept, TWO)
    first = kept.flush()
    assert first is not None
    kept.acknowledged(first[0])
    assert kept.flush() is None
    count(kept, TWO)
    assert counted(kept.flush()) == {2: 2}


def test_a_late_acknowledgement_covers_only_what_was_sent_then() -> None:
    kept = book()
    count(kept, ONE)
    first = kept.flush()
    assert first is not None
    count(kept, ONE)
    kept.acknowledged(first[0])
    assert counted(kept.flush()) == {1: 2}


def test_acknowledgements_out_of_order_do_not_go_back() -> None:
    kept = book()
    count(kept, ONE)
    first = kept.flush()
    count(kept, ONE)
    second = kept.flush()
    assert first is not None
    assert second is not None
    kept.acknowledged(second[0])
    kept.acknowledged(first[0])
    kept.acknowledged(999)
    assert kept.flush() is None


def test_another_controller_is_told_everything() -> None:
    kept = book()
    count(kept, ONE)
    first = kept.flush()
    assert first is not None
    kept.acknowledged(first[0])
    kept.forget_acknowledgements()
    assert counted(kept.flush()) == {1: 1}


def test_a_stage_that_is_over_is_kept_until_the_controller_has_it() -> None:
    kept = book()
    count(kept, ONE)
    recorder = kept.recorder(ONE)
    kept.recorder(TWO)
    kept.end_all_but([TWO])
    flushed = kept.flush()
    assert flushed is not None
    assert 1 in counted(flushed)
    kept.acknowledged(flushed[0])
    kept.forget_acknowledgements()
    assert 1 not in counted(kept.flush())
    assert kept.recorder(ONE) is not recorder


def test_a_stage_that_is_over_is_kept_while_requests_are_under_way() -> None:
    kept = book()
    recorder = kept.recorder(ONE)
    recorder.in_flight = 1
    kept.end_all_but([])
    flushed = kept.flush()
    assert flushed is not None
    kept.acknowledged(flushed[0])
    recorder.in_flight = 0
    recorder.exclude(Arm.STABLE, Exclusion.FORCED)
    assert counted(kept.flush()) == {1: 1}


def test_stages_that_nobody_fetches_are_bounded() -> None:
    kept = book()
    for number in range(100):
        count(kept, replace(ONE, stage=number))
        kept.end_all_but([])
    assert set(counted(kept.flush())) == set(range(68, 100))


def test_a_stage_that_comes_back_goes_on() -> None:
    kept = book()
    count(kept, ONE)
    kept.end_all_but([])
    count(kept, ONE)
    assert counted(kept.flush()) == {1: 2}


def test_flushes_of_incarnations_and_gateways_add_up_and_repeat_harmlessly() -> None:
    ledger = Ledger()
    for gateway, incarnation, times in (("g1", "a", 3), ("g1", "b", 2), ("g2", "c", 1)):
        kept = book()  # what a restarted gateway begins with
        for _ in range(times):
            count(kept, ONE)
            flushed = kept.flush()
            assert flushed is not None
            for _ in range(2):
                ledger.replace(Flush(gateway, incarnation, *flushed))
    total = ledger.total("r1", 1)
    assert total is not None
    assert total.stable.excluded == {Exclusion.FORCED: 6}
