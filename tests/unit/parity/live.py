"""A small contract with its profile, and rows to count by it."""

from typing import Any

import numpy as np

from serinus.parity.columns import Column
from serinus.parity.contract import (
    Contract,
    Declared,
    Field,
    Inputs,
    Kind,
    ModelIdentity,
    Origin,
    Outputs,
    Privacy,
    Training,
    Type,
)
from serinus.parity.observe import joint_checks, observe, score_profile
from serinus.parity.profiles import Profile
from serinus.parity.shape import Shape, shape_of

KINDS = {
    "distance": Kind.NUMBER,
    "hour": Kind.WHOLE,
    "carrier": Kind.TEXT,
    "tail": Kind.TEXT,
    "weekend": Kind.FLAG,
    "at": Kind.INSTANT,
}
CARRIERS = ("AA", "UA", "DL", "B6")


def rows(n: int, seed: int = 0) -> dict[str, list[Any]]:
    """Cells by field, with gaps."""
    rng = np.random.default_rng(seed)
    minutes = np.datetime64("2013-01-01T00:00") + rng.integers(0, 500_000, n)
    return {
        "distance": [
            None if gap < 0.03 else float(each)
            for each, gap in zip(rng.integers(94, 4983, n), rng.random(n), strict=True)
        ],
        "hour": rng.integers(5, 24, n).tolist(),
        "carrier": [
            None if gap < 0.02 else str(each)
            for each, gap in zip(
                rng.choice(CARRIERS, n, p=[0.4, 0.3, 0.2, 0.1]), rng.random(n), strict=True
            )
        ],
        "tail": [f"N{each}" for each in rng.integers(100, 110, n)],
        "weekend": (rng.random(n) < 0.3).tolist(),
        "at": [str(each) for each in minutes],
    }


def trained(n: int = 4000, seed: int = 99) -> tuple[Contract, Profile]:
    """What training saw of such rows; ``tail`` is private."""
    cells = rows(n, seed)
    columns = [_column(name, cells[name]) for name in cells]
    fields, profiles = [], {}
    for column in columns:
        privacy = Privacy.HASH if column.name == "tail" else Privacy.PLAIN
        observed, profiles[column.name] = observe(column, privacy, "salt")
        declared = Declared(min=0.0, max=24.0) if column.name == "hour" else Declared()
        fields.append(
            Field(
                name=column.name,
                type=Type(logical=column.kind),
                observed=observed,
                declared=declared,
                privacy=privacy,
                importance=0.3 if column.name == "distance" else 0.05,
            )
        )
    joint, means, scales = joint_checks(columns)
    scores = np.random.default_rng(seed).random(n)
    profile = Profile(
        rows=n,
        fields=profiles,
        score=score_profile(scores, scores > 0.5),
        joint=joint,
        means=means,
        scales=scales,
    )
    contract = Contract(
        format=1,
        origin=Origin.CAPTURED,
        model=ModelIdentity(),
        fields=fields,
        inputs=Inputs(names=list(cells)),
        outputs=Outputs(kind="probability", column=1, threshold=0.5),
        training=Training(rows=n, fingerprint="salt"),
    )
    return contract, profile


def shape() -> Shape:
    """How such rows are counted."""
    return shape_of(*trained())


def _column(name: str, cells: list[Any]) -> Column:
    kind = KINDS[name]
    null = np.array([each is None for each in cells])
    if kind is Kind.TEXT:
        words = sorted({each for each in cells if each is not None})
        codes = np.array([-1 if each is None else words.index(each) for each in cells])
        return Column(name, kind, codes, null, words)
    if kind is Kind.INSTANT:
        return Column(name, kind, np.array(cells, dtype="datetime64[ns]"), null)
    if kind is Kind.FLAG:
        return Column(name, kind, np.array(cells, dtype=bool), null)
    return Column(name, kind, np.array(cells, dtype=np.float64), null)
