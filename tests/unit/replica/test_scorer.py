"""One request's mistake never costs another its answer."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serinus.replica.answered import Answered, Times
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.loaded import Model
from serinus.replica.protocol import Format, Frame, Kind
from serinus.replica.scorer import Request, Scorer


class Clock:
    """Moves on by itself: a millisecond at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def _scorer(predict: Callable[[Any], Any], *, batched: bool = True, by_row: bool = True) -> Scorer:
    intake = ColumnIntake([Column("x", ColumnType.DOUBLE)])
    model = Model(intake, lambda data, _params: predict(data["x"].to_numpy()), None)
    return Scorer(model, batched=batched, by_row=by_row, clock=Clock())


def _request(id_: int, *values: Any, aux: int = 0, **more: Any) -> Request:
    body = {"dataframe_split": {"columns": ["x"], "data": [[value] for value in values]}, **more}
    frame = Frame(Kind.REQUEST, id_, json.dumps(body).encode(), format=Format.JSON, aux=aux)
    return Request(frame, 0.0)


def _content(frame: Frame) -> Any:
    return json.loads(frame.body)


def test_each_request_gets_its_own_rows_and_the_batch_they_shared() -> None:
    answers = _scorer(lambda x: x * 2).answer(
        [_request(7, 1), _request(8, 2, 3), _request(9, None)]
    )
    assert [(each.id, each.status, _content(each)["predictions"]) for each in answers] == [
        (7, 200, [2.0]),
        (8, 200, [4.0, 6.0]),
        (9, 200, [None]),
    ]
    assert {each.batch for each in answers} == {1}
    assert {each.aux for each in answers} == {1000}


def test_unreadable_requests_are_refused_before_the_batch() -> None:
    seen: list[int] = []

    def predict(x: Any) -> Any:
        seen.append(len(x))
        return x

    answers = _scorer(predict).answer([_request(1, 1), _request(2, "a"), _request(3, 3)])
    assert [each.status for each in answers] == [200, 400, 200]
    assert _content(answers[1])["error_code"] == "BAD_REQUEST"
    assert seen == [2]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("no thirteen"), 400, "evaluating the model: ValueError: no thirteen"),
        (SystemExit(3), 400, "tried to end its process (SystemExit: 3)"),
        (KeyboardInterrupt(), 400, "tried to end its process (KeyboardInterrupt)"),
    ],
)
def test_a_row_that_makes_the_model_raise_fails_alone(
    error: BaseException, status: int, words: str
) -> None:
    def predict(x: Any) -> Any:
        if (x == 13).any():
            raise error
        return x

    answers = _scorer(predict).answer([_request(1, 1), _request(2, 13), _request(3, 3)])
    assert [each.status for each in answers] == [200, status, 200]
    assert words in _content(answers[1])["message"]
    assert "Traceback" not in _content(answers[1])["message"]
    assert _content(answers[2])["predictions"] == [3.0]


def test_a_wrong_number_of_rows_in_a_batch_is_found_in_the_request_that_causes_it() -> None:
    def predict(x: Any) -> Any:
        return x[x != 13]

    answers = _scorer(predict).answer([_request(1, 1), _request(2, 13, 5), _request(3, 3)])
    assert [each.status for each in answers] == [200, 400, 200]
    assert _content(answers[1])["message"] == "The model returned 1 prediction for 2 rows."
    assert _content(answers[0])["predictions"] == [1.0]


def test_a_model_that_sums_up_is_not_held_to_its_number_of_rows() -> None:
    scorer = _scorer(lambda x: np.array([x.sum()]), batched=False, by_row=False)
    (answer,) = scorer.answer([_request(1, 1, 2)])
    assert _content(answer)["predictions"] == [3.0]


def test_an_answer_without_json_form_is_the_models_fault() -> None:
    (answer,) = _scorer(lambda x: [object()]).answer([_request(1, 1)])
    assert answer.status == 400
    assert "no JSON form: object" in _content(answer)["message"]


def test_without_proof_each_request_is_a_batch_of_its_own() -> None:
    scorer = _scorer(lambda x: x - x.mean(), batched=False)
    answers = scorer.answer([_request(1, 1), _request(2, 5)])
    assert [_content(each)["predictions"] for each in answers] == [[0.0], [0.0]]
    assert [each.batch for each in answers] == [1, 2]


def test_requests_with_other_params_share_no_batch() -> None:
    answers = _scorer(lambda x: x).answer(
        [_request(1, 1, params={"k": 1}), _request(2, 2, params={"k": 2}), _request(3, 3)]
    )
    assert len({each.batch for each in answers}) == 3


class Observer:
    """Keeps how long each request took, stage by stage."""

    def __init__(self) -> None:
        self.took: list[Any] = []

    def answered(
        self, requests: Any, units: Any, answers: Any, output: Any, times: Times | None = None
    ) -> None:
        noted = Answered(0.0, 1, requests, units, answers, output, times)
        self.took += [noted.took(at) for at in range(len(units))]

    def refused(self, request: Frame, error: Exception) -> None:
        raise AssertionError(error)


@pytest.mark.parametrize("batched", [True, False])
def test_the_stages_of_a_request_fill_the_time_until_it_was_answered(batched: bool) -> None:
    observer, clock = Observer(), Clock()
    intake = ColumnIntake([Column("x", ColumnType.DOUBLE)])
    model = Model(intake, lambda data, _params: data["x"].to_numpy(), None)
    scorer = Scorer(model, batched=batched, observer=observer, clock=clock)
    clock.now = 5.0
    asked = [Request(_request(1, 1).frame, 4.0), Request(_request(2, 2).frame, 4.5)]
    scorer.answer(asked)
    (first, second), ended = observer.took, clock.now
    assert first[:3] == pytest.approx((1.001, 0.001, 0.001))
    # Alone, the second one has to wait for the first as well.
    assert second[0] == pytest.approx(first[0] - 0.5 + (0.0 if batched else sum(first[2:])))
    assert sum(first) == pytest.approx(ended - 4.0 - (0.0 if batched else sum(second[2:])))
    assert sum(second) == pytest.approx(ended - 4.5)
    assert min(*first, *second) >= 0.0


def test_a_request_whose_deadline_has_passed_is_not_started() -> None:
    late, fine = _request(1, 1, aux=5), _request(2, 2, aux=5000)
    late.received = -1.0
    answers = _scorer(lambda x: x).answer([late, fine])
    assert [each.status for each in answers] == [504, 200]
    assert _content(answers[0])["error_code"] == "DEADLINE_EXCEEDED"
