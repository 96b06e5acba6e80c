"""A score that jumps by a last digit is excused; one that differs for the same vector never is."""

import numpy as np

from serinus.parity.jumps import excused

_VECTOR = np.random.default_rng(0).random((100, 3))
_SINGLE = _VECTOR.astype(np.float32).astype(np.float64)
_FAR = np.arange(100) < 3


def test_few_jumps_by_last_digits_prove_nothing() -> None:
    assert (excused(_FAR, {"S3": [_VECTOR]}, {"S3": [_SINGLE]}, "S4") == _FAR).all()


def test_the_same_vector_or_many_jumps_excuse_nothing() -> None:
    assert not excused(_FAR, {"S3": [_VECTOR]}, {"S3": [_VECTOR]}, "S4").any()
    half = np.where(np.arange(100)[:, None] < 1, _VECTOR, _SINGLE)
    assert not excused(_FAR, {"S3": [_VECTOR]}, {"S3": [half]}, "S4").any()
    many = np.arange(100) < 40
    assert not excused(many, {"S3": [_VECTOR]}, {"S3": [_SINGLE]}, "S4").any()
    assert not excused(_FAR, {"S3": [_VECTOR]}, {"S3": [_SINGLE]}, "S3").any()
    assert not excused(_FAR, {}, {}, "S4").any()
