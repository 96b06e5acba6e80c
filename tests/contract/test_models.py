"""Every kind of model answers as `mlflow.pyfunc` does in-process: alone bit for bit.

The table in docs/reference/models.md is made here: ``SERINUS_WRITE_DOCS=1`` writes it anew.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from serinus.replica.batching import ULPS as MOST_ULPS
from serinus.replica.protocol import Format, Frame, Kind
from tests.integration.replica.process import Running

if TYPE_CHECKING:
    from serinus.replica.scorer import Scorer
    from tests.contract.zoo.species import Species

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "models.md"
BEGIN, END = "<!-- begin: made by tests/contract/test_models.py -->", "<!-- end -->"
# Old models and their libraries warn of much; none of it is about Serinus.
pytestmark = pytest.mark.filterwarnings("ignore")

#: Asked by the numbers of their rows.
ALONE = ((0,), (3,), (1, 2, 3, 4))
NAMES = [
    *("scikit-learn pipeline", "scikit-learn `predict_proba`"),
    *("XGBoost, scikit-learn API", "XGBoost booster"),
    *("LightGBM, scikit-learn API", "LightGBM booster"),
    *("statsmodels OLS", "statsmodels GLM"),
    *("model from code", "pyfunc with artifacts", "pyfunc with modules of its own"),
    *("pyfunc with params", "pyfunc with type hints", "pyfunc without a signature"),
    *("every simple type", "nested types", "dates and zones"),
    *("tensor", "tensor of images", "named tensors"),
    *("answers", "ONNX", "PyTorch"),
]


class Served:
    """One saved model: as a replica asks it, and as MLflow does."""

    def __init__(self, path: Path) -> None:
        import mlflow.pyfunc

        from serinus.replica.launch import Launch
        from serinus.replica.model import load
        from serinus.replica.serving import prove_batching, scorer_of

        self.path = path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.theirs = mlflow.pyfunc.load_model(str(path), suppress_warnings=True)
            model = load(path)
            launch = Launch("r", "d", str(path), "", "", "")
            self.proof = prove_batching(model, launch, Random(0))  # noqa: S311 - no secret
            self.scorer: Scorer = scorer_of(model, self.proof)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[Species], Served]":
    root = tmp_path_factory.mktemp("zoo")
    known: dict[Any, Served] = {}

    def get(species: "Species") -> Served:
        if species.save not in known:
            path = root / f"m{len(known)}"
            species.save(path)
            known[species.save] = Served(path)
        return known[species.save]

    return get


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def species_of(group: str) -> "dict[str, Species]":
    from tests.contract.zoo.table import ZOO

    return {name: each for name, each in ZOO.items() if name.partition(":")[0] == group}


def test_every_species_is_asked() -> None:
    from tests.contract.zoo.table import ZOO

    assert {name.partition(":")[0] for name in ZOO} == set(NAMES)


@pytest.mark.parametrize("group", NAMES)
def test_answers_are_mlflows(served: "Callable[[Species], Served]", group: str) -> None:
    for name, species in species_of(group).items():
        for library in species.needs:
            pytest.importorskip(library)
        one = served(species)
        for rows in ALONE:
            [answer] = one.scorer.answer([_request(species, rows)])
            assert _said(answer) == _theirs(one, species, rows), name
        _check_batch(one, species, name)
        for format_ in _files(species):
            [answer] = one.scorer.answer([_request(species, (1, 2, 4, 5), format_)])
            assert _said(answer) == _theirs(one, species, (1, 2, 4, 5)), (name, format_)


def _check_batch(one: Served, species: "Species", name: str) -> None:
    from tests.contract.zoo.species import ALONE as ONE_BY_ONE
    from tests.contract.zoo.species import SAME

    rows = range(len(_rows(species)))
    answers = one.scorer.answer([_request(species, (at,)) for at in rows])
    batches = len({answer.batch for answer in answers})
    assert (batches == len(answers)) == (species.batch == ONE_BY_ONE), (name, one.proof.reason)
    for at, answer in zip(rows, answers, strict=True):
        want = _theirs(one, species, (at,))
        if species.batch == SAME:
            assert _said(answer) == want, name
        else:
            _assert_close(json.loads(_said(answer)), json.loads(want), name)


def _files(species: "Species") -> list[Format]:
    return [Format.CSV] * species.csv + [Format.PARQUET] * species.parquet


def test_a_process_says_the_same_over_its_socket(
    served: "Callable[[Species], Served]", tmp_path: Path
) -> None:
    import tempfile

    from tests.contract.zoo.table import ZOO

    chosen = {
        name: each
        for name, each in ZOO.items()
        if name in ("XGBoost booster", "nested types", "model from code")
    }
    with tempfile.TemporaryDirectory(prefix="srn-") as home:
        running = [
            Running(Path(home) / str(at), served(each).path)
            for at, each in enumerate(chosen.values())
        ]
        try:
            for process, (name, species) in zip(running, chosen.items(), strict=True):
                process.settled()
                peer = process.peer()
                for rows in ALONE:
                    peer.send([_frame(species, rows, Format.JSON)])
                    assert _said(peer.next()) == _theirs(served(species), species, rows), name
        finally:
            for process in running:
                process.end()


def test_what_json_has_no_number_for_is_null_and_counted(
    served: "Callable[[Species], Served]",
) -> None:
    import numpy as np

    species = species_of("answers")
    for name in ("array", "DataFrame", "list"):
        odd = species[f"answers: {name} with NaN, ±Infinity"]
        scorer = served(odd).scorer
        before = scorer.nulled.nan, scorer.nulled.infinite
        output = _output(served(odd), odd, range(len(_rows(odd))))
        text = str(output if isinstance(output, list) else np.asarray(output).tolist())
        scorer.answer([_request(odd, tuple(range(len(_rows(odd)))))])
        found = scorer.nulled.nan - before[0], scorer.nulled.infinite - before[1]
        assert found == (text.count("nan"), text.count("inf"))
        assert min(found) > 0


def test_the_page_shows_what_is_expected() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    made = f"{before}{BEGIN}\n\n{_table()}\n{END}{after}"
    if os.environ.get("SERINUS_WRITE_DOCS"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, (
        "docs/reference/models.md is not what is expected now; SERINUS_WRITE_DOCS=1 writes it"
    )


def _table() -> str:
    from tests.contract.zoo.table import ZOO

    lines = ["| model | takes | answers | alone | in a batch | CSV | Parquet |"]
    lines.append("|---" * 7 + "|")
    for name, each in ZOO.items():
        shown = f"{name} ¹" if each.needs else name
        files = " | ".join("same bits" if has else "" for has in (each.csv, each.parquet))
        lines.append(
            f"| {shown} | {each.takes} | {each.answers} | same bits | {each.batch} | {files} |"
        )
    return "\n".join(lines) + "\n"


def _rows(species: "Species") -> Any:
    """The species' rows, each of which can be asked alone."""
    data = species.data()
    if isinstance(data, dict):
        return range(len(next(iter(data.values()))))
    return data


def _some(data: Any, rows: Any) -> Any:
    import pandas as pd

    at = list(rows)
    if isinstance(data, pd.DataFrame):
        return data.iloc[at].reset_index(drop=True)
    if isinstance(data, dict):
        return {name: each[at] for name, each in data.items()}
    return [data[each] for each in at] if isinstance(data, list) else data[at]


def _request(species: "Species", rows: tuple[int, ...], format_: Format = Format.JSON) -> Any:
    from serinus.replica.scorer import Request

    return Request(_frame(species, rows, format_), 0.0)


def _frame(species: "Species", rows: tuple[int, ...], format_: Format, id_: int = 1) -> Frame:
    return Frame(Kind.REQUEST, id_, _body(species, rows, format_), format=format_)


def _body(species: "Species", rows: tuple[int, ...], format_: Format) -> bytes:
    import pandas as pd

    from tests.contract.zoo.wire import csv_of, dense, frame_of, parquet_of

    data = species.data()
    some = _some(data, [at % len(_rows(species)) for at in rows])
    if format_ is not Format.JSON:
        frame = some if isinstance(some, pd.DataFrame) else frame_of(some)
        return csv_of(frame) if format_ is Format.CSV else parquet_of(frame)
    if isinstance(some, pd.DataFrame):
        names = list(some.columns)
        columns = [list(some[name]) for name in names]
        some = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    document = {species.form: dense(some)}
    if species.params:
        document["params"] = species.params
    return json.dumps(document).encode()


def _output(one: Served, species: "Species", rows: Any) -> Any:
    some = _some(species.data(), [at % len(_rows(species)) for at in rows])
    more = {"params": species.params} if species.params else {}
    return one.theirs.predict(some, **more)


def _theirs(one: Served, species: "Species", rows: Any) -> str:
    """MLflow's answer in-process, as JSON in which NaN and infinities are null."""
    from tests.models import official_json

    output = _output(one, species, rows)
    written = official_json(species.written(output) if species.written else output)
    return json.dumps(json.loads(written, parse_constant=lambda _: None)["predictions"])


def _said(answer: Frame) -> str:
    assert answer.status == 200, answer.body
    return json.dumps(json.loads(answer.body)["predictions"])


def _assert_close(ours: Any, theirs: Any, name: str) -> None:
    import numpy as np

    one, other = np.array(_leaves(ours)), np.array(_leaves(theirs))
    if one.dtype.kind != "f":
        assert one.tolist() == other.tolist(), name
        return
    narrow = bool((one.astype(np.float32) == one).all())
    eps = np.finfo(np.float32 if narrow else np.float64).eps
    scale = np.maximum(np.abs(one), np.median(np.abs(other)))
    assert (np.abs(one - other) <= MOST_ULPS * eps * scale).all(), (name, ours, theirs)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in _leaves(value[key])]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]
