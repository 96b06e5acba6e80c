"""Step 1: the right files, by the right routes, in the right shares."""

from typing import Any

import pytest

from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.values import Replica, RouteShare
from tests.unit.parity.diagnosis.known import rows_like_training, snapshot

_ROWS = rows_like_training(2000, 5)


def _shares(one: int, two: int, gateway: str = "") -> list[RouteShare]:
    return [
        RouteShare(served="m", wanted=0.9, requests=one, gateway=gateway),
        RouteShare(served="n", wanted=0.1, requests=two, gateway=gateway),
    ]


def _said(**more: Any) -> tuple[str, str, float | None]:
    found = diagnose(snapshot(_ROWS, **more))
    return found.detail, found.confidence.value, found.share


def test_shares_as_set_are_healthy_and_others_are_not() -> None:
    assert _said(shares=_shares(9000, 1000))[0] == "healthy"
    assert _said(shares=_shares(900, 90))[0] == "healthy", "too few to say"
    detail, confidence, share = _said(shares=_shares(8000, 2000))
    assert (detail, confidence) == ("routing.weights", "strong")
    assert share == pytest.approx(0.1)


def test_one_gateway_that_divides_otherwise_is_named() -> None:
    shares = [*_shares(90_400, 9_600), *_shares(89_000, 8_000, "g0"), *_shares(1_400, 1_600, "g1")]
    found = diagnose(snapshot(_ROWS, shares=shares))
    assert found.detail == "routing.weights"
    assert "at gateway g1" in found.findings[0].evidence[0].text


def test_a_gateway_with_older_routes_is_exact() -> None:
    assert _said(late_gateways=(["g1"], 4)) == ("routing.generation", "exact", 0.25)


@pytest.mark.parametrize(
    ("files", "detail", "share"),
    [(("d2", "d2"), "healthy", None), (("d2", "x"), "model.artefact", 0.5),
     (("d1", "d1"), "routing.version", 1.0)],
)  # fmt: skip
def test_files_are_judged_by_what_they_are_now(
    files: tuple[str, str], detail: str, share: float | None
) -> None:
    replicas = [
        Replica(id=each, served="m", intended_digest="d2", served_digest="d2", files_digest=each)
        for each in files
    ]
    found = diagnose(snapshot(_ROWS, replicas=replicas, known_digests=frozenset({"d1", "d2"})))
    assert (found.detail, found.share) == (detail, share)
    if detail == "model.artefact":
        assert found.locus.value == "artefact"
        assert not any(each.fault.startswith("model") for each in found.excluded)
