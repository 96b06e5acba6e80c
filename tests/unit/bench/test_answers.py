import pytest

from bench.answers import AnswerCheck, Payload, http_request, same_value
from bench.load import Job


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1, "a", None, True], [1, "a", None, True]),
        ([0.1 + 0.2], [0.3]),
        ([1], [1.0]),
        ({"a": [1.5]}, {"a": [1.5]}),
    ],
)
def test_equal_values(left, right):
    assert same_value(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1], [0]),
        ([1], [1, 1]),
        ([0.3], [0.3001]),
        ([10**18], [10**18 + 1]),
        ([True], [1]),
        ([1], ["1"]),
        ([0], [None]),
        ({"a": 1}, {"b": 1}),
        ([1], 1),
    ],
)
def test_unequal_values(left, right):
    assert not same_value(left, right)


def test_an_answer_is_held_against_its_own_request():
    check = AnswerCheck([Payload(b"", predictions=[0]), Payload(b"", predictions=[1])])
    assert check.right(0, b'{"predictions": [0]}')
    assert check.right(1, b'{"predictions":[1],"more":2}')
    # Another request's right answer is a wrong one, also when it is already known as right there.
    assert not check.right(1, b'{"predictions": [0]}')


@pytest.mark.parametrize("body", [b"", b"not json", b"[0]", b'{"other": [0]}', b"\xff\xfe"])
def test_what_holds_no_predictions_is_wrong(body):
    assert not AnswerCheck([Payload(b"", predictions=[0])]).right(0, body)


def test_without_predictions_the_body_has_to_be_equal():
    check = AnswerCheck([Payload(b"", body=b"ok")])
    assert check.right(0, b"ok")
    assert not check.right(0, b"OK")


def test_more_different_bodies_than_are_remembered_are_still_judged():
    check = AnswerCheck([Payload(b"", predictions=[0])])
    for number in range(200):
        assert check.right(0, b'{"predictions":[0],"id":%d}' % number)
        assert not check.right(0, b'{"predictions":[1],"id":%d}' % number)


def test_a_request_declares_its_body():
    wire = http_request("POST", "/invocations", "localhost", b'{"a":1}')
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /invocations HTTP/1.1\r\n")
    assert b"Content-Length: 7" in head
    assert body == b'{"a":1}'
    assert b"Content-Length" not in http_request("GET", "/health", "localhost")


def test_a_job_reaches_the_generators_process_unchanged():
    payloads = [Payload(b"\x00\xff", predictions=[1.5]), Payload(b"x", body=b"\xfe")]
    job = Job("127.0.0.1", 1234, payloads, connections=3, seconds=1.5, rate=10.0)
    assert Job.from_json(job.to_json()) == job
