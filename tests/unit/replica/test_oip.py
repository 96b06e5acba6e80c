"""The Open Inference Protocol in a replica: what tensors become, and what becomes of outputs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from serinus.errors import BadRequest, SerinusError
from serinus.replica.answer import BadAnswer
from serinus.replica.card import Card, Column, ColumnType, Tensor
from serinus.replica.intake import strict_intake
from serinus.replica.loaded import Model
from serinus.replica.oip import Asked, OpenInference
from serinus.replica.protocol import Format, Frame, Kind
from serinus.replica.scorer import Request, Scorer

COLUMNS = (
    Column("x", ColumnType.DOUBLE),
    Column("n", ColumnType.LONG),
    Column("i", ColumnType.INTEGER),
    Column("s", ColumnType.STRING, required=False),
    Column("b", ColumnType.BOOLEAN),
)


def _card(directory: Path, **kinds: Any) -> Card:
    outputs = msgspec.json.encode(kinds.pop("outputs", [])).decode()
    document = {"flavors": {"python_function": {}}, "signature": {"outputs": outputs}}
    (directory / "MLmodel").write_bytes(msgspec.yaml.encode(document))
    return Card(directory, {}, {}, kinds.pop("columns", ()), False, False, None, **kinds)


@pytest.fixture
def columns(tmp_path: Path) -> OpenInference:
    return _protocol(_card(tmp_path, columns=COLUMNS))


def _protocol(card: Card) -> OpenInference:
    intake = strict_intake(card)
    assert intake is not None
    return OpenInference(card, intake)


def _tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> Any:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def _row(**changes: Any) -> list[Any]:
    tensors = {
        "x": _tensor("x", "FP64", [0.5]),
        "n": _tensor("n", "INT64", [2]),
        "i": _tensor("i", "INT32", [3]),
        "s": _tensor("s", "BYTES", ["a"]),
        "b": _tensor("b", "BOOL", [True]),
    }
    return [each for each in (tensors | changes).values() if each is not None]


def _body(inputs: list[Any], **more: Any) -> bytes:
    return msgspec.json.encode({"inputs": inputs, **more})


def test_tensors_become_the_columns_of_the_signature(columns: OpenInference) -> None:
    unit = columns.read(
        _body(
            [
                _tensor("b", "BOOL", [[True], [False]], [2, 1]),
                _tensor("x", "FP32", [0.5, None]),
                _tensor("n", "UINT32", [2**32 - 1, 0]),
                _tensor("i", "INT8", [-128, 127]),
                _tensor("s", "BYTES", ["é", None]),
            ],
            id="42",
        )
    )
    frame = columns._intake.join([unit])
    assert list(frame.columns) == ["x", "n", "i", "s", "b"]
    assert frame["n"].tolist() == [2**32 - 1, 0]
    assert frame["x"].isna().tolist() == [False, True]
    assert frame["b"].tolist() == [True, False]
    assert frame.dtypes["i"] == np.int32
    assert unit.asked == Asked("42", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": _tensor("n", "FP64", [2.0])}, "'n': the model takes INT64, and FP64 does not fit"),
        ({"n": _tensor("n", "UINT64", [2])}, "the model takes INT64"),
        ({"i": _tensor("i", "INT64", [3])}, "the model takes INT32"),
        ({"b": _tensor("b", "INT8", [1])}, "the model takes BOOL"),
        ({"s": _tensor("s", "INT64", [1])}, "the model takes BYTES"),
        ({"x": _tensor("x", "BYTES", ["0.5"])}, "the model takes FP64"),
        ({"n": _tensor("n", "INT64", [True])}, "element 0 is true, but INT64 are whole numbers"),
        ({"n": _tensor("n", "INT64", [2.0])}, "element 0 is 2.0"),
        ({"n": _tensor("n", "INT64", [2**63])}, "out of the range of INT64"),
        ({"i": _tensor("i", "INT8", [128])}, "out of the range of INT8"),
        ({"n": _tensor("n", "INT64", [None])}, "element 0 is null"),
        ({"x": _tensor("x", "FP16", [70000.0])}, "out of the range of FP16"),
        ({"x": _tensor("x", "INT64", [2**53 + 1])}, "column 'x'"),
        ({"x": _tensor("x", "BOOL", [True])}, "the model takes FP64"),
        ({"x": _tensor("x", "COMPLEX", [1])}, "datatype 'COMPLEX' is not known"),
        ({"x": _tensor("x", "FP64", [1.0, 2.0], [3])}, "has 3 elements, its data 2"),
        ({"x": _tensor("x", "FP64", [[1.0, 2.0]], [1, 2])}, "must be [rows] or [rows, 1]"),
        ({"x": _tensor("x", "FP64", [[1.0], 2.0], [2, 1])}, "its data"),
        ({"x": _tensor("x", "FP64", [1.0], [-1])}, "negative"),
        ({"x": _tensor("x", "FP64", [1.0, 2.0])}, "same number of rows"),
        ({"x": None}, "lacks the column 'x'"),
        ({"y": _tensor("x", "FP64", [1.0])}, "'x' twice"),
    ],
)
def test_what_does_not_fit_is_refused(
    columns: OpenInference, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        columns.read(_body(_row(**change)))
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"parameters": {"binary_data_size": 8}}, "binary_data=False"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared memory"),
        ({}, "has no 'data'"),
    ],
)
def test_tensors_outside_the_json_are_refused(
    columns: OpenInference, tensor: dict[str, Any], words: str
) -> None:
    outside = {"name": "x", "datatype": "FP64", "shape": [1], **tensor}
    with pytest.raises(BadRequest, match=words):
        columns.read(_body(_row(x=outside)))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"inputs":[]}',
        b'{"inputs":[{"name":"x"}]}',
        b'{"inputs":[],"inputs":[]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[NaN]}]}',
        b'{"inputs":' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_what_is_no_request_is_refused(columns: OpenInference, body: bytes) -> None:
    with pytest.raises(BadRequest):
        columns.read(body)


def test_a_sole_tensor_needs_no_name(tmp_path: Path) -> None:
    card = _card(tmp_path, tensors=(Tensor(None, "float32", (-1, 2)),))
    protocol = _protocol(card)
    flat = protocol.read(_body([_tensor("whatever", "FP32", [1, 2, 3, 4], [2, 2])]))
    nested = protocol.read(_body([_tensor("whatever", "FP32", [[1, 2], [3, 4]], [2, 2])]))
    for unit in (flat, nested):
        assert unit.data.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert unit.data.dtype == np.float32
    with pytest.raises(BadRequest, match="FP64 does not fit"):
        protocol.read(_body([_tensor("whatever", "FP64", [1, 2], [1, 2])]))
    with pytest.raises(BadRequest, match="shape"):
        protocol.read(_body([_tensor("whatever", "FP32", [1, 2, 3], [1, 3])]))


def test_tensors_by_name(tmp_path: Path) -> None:
    tensors = (Tensor("a", "int64", (-1,)), Tensor("b", "float64", (-1, 2)))
    protocol = _protocol(_card(tmp_path, tensors=tensors))
    unit = protocol.read(_body([_tensor("b", "FP32", [1, 2], [1, 2]), _tensor("a", "INT8", [7])]))
    assert unit.data["a"].tolist() == [7]
    assert unit.data["b"].tolist() == [[1.0, 2.0]]


def test_the_model_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    outputs = [
        {"type": "double", "name": "p", "required": True},
        {"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1, 3]}},
    ]
    found = msgspec.json.decode(
        _protocol(_card(tmp_path, columns=COLUMNS, outputs=outputs)).metadata
    )
    assert found == {
        "platform": "mlflow_pyfunc",
        "inputs": [
            {"name": "x", "datatype": "FP64", "shape": [-1]},
            {"name": "n", "datatype": "INT64", "shape": [-1]},
            {"name": "i", "datatype": "INT32", "shape": [-1]},
            {"name": "s", "datatype": "BYTES", "shape": [-1]},
            {"name": "b", "datatype": "BOOL", "shape": [-1]},
        ],
        "outputs": [
            {"name": "p", "datatype": "FP64", "shape": [-1]},
            {"name": "output-2", "datatype": "INT64", "shape": [-1, 3]},
        ],
    }


@pytest.mark.parametrize(
    ("output", "tensors"),
    [
        (np.array([1, 2]), [("output-1", "INT64", [2], [1, 2])]),
        (np.array([[1.5, np.nan]], "f4"), [("output-1", "FP32", [1, 2], [1.5, None])]),
        (np.array([np.inf, 1.0]), [("output-1", "FP64", [2], [None, 1.0])]),
        (np.array(["a", "b"]), [("output-1", "BYTES", [2], ["a", "b"])]),
        (np.array([True]), [("output-1", "BOOL", [1], [True])]),
        (np.array(["2013-01-31"], "M8[D]"), [("output-1", "BYTES", [1], ["2013-01-31"])]),
        (np.float64(2.0), [("output-1", "FP64", [1], [2.0])]),
        ([1, 2.5], [("output-1", "FP64", [2], [1, 2.5])]),
        ([2**53 + 1, 0.5], [("output-1", "FP64", [2], [2**53 + 1, 0.5])]),
        (["a", None], [("output-1", "BYTES", [2], ["a", None])]),
        ([[1, 2], [3, 4]], [("output-1", "INT64", [2, 2], [1, 2, 3, 4])]),
        (pd.Series([1.0], name="p"), [("p", "FP64", [1], [1.0])]),
        (
            pd.DataFrame({"p": [0.5, 1.0], "c": ["a", "b"]}),
            [("p", "FP64", [2], [0.5, 1.0]), ("c", "BYTES", [2], ["a", "b"])],
        ),
        (
            {"p": np.array([0.5]), "q": [1]},
            [("p", "FP64", [1], [0.5]), ("q", "INT64", [1], [1])],
        ),
        ([{"p": 1, "q": "a"}], [("p", "INT64", [1], [1]), ("q", "BYTES", [1], ["a"])]),
        ([[1], {"a": 2}], [("output-1", "BYTES", [2], ["[1]", '{"a":2}'])]),
    ],
)
def test_outputs_become_tensors(columns: OpenInference, output: Any, tensors: list[Any]) -> None:
    answer = msgspec.json.decode(columns.write(output, Asked("", None)))
    found = [
        tuple(each[key] for key in ("name", "datatype", "shape", "data"))
        for each in answer["outputs"]
    ]
    assert found == tensors


def test_a_ragged_output_is_said_to_be_the_models_fault(columns: OpenInference) -> None:
    with pytest.raises(BadAnswer, match="different lengths"):
        columns.write([[1], [2, 3]], Asked("", None))


def test_a_sole_output_has_the_name_of_the_signature(tmp_path: Path) -> None:
    protocol = _protocol(
        _card(tmp_path, columns=COLUMNS, outputs=[{"type": "double", "name": "delay"}])
    )
    answer = msgspec.json.decode(protocol.write(np.array([1.0]), Asked("7", ("delay",))))
    assert (answer["id"], answer["outputs"][0]["name"]) == ("7", "delay")
    with pytest.raises(BadRequest, match="no output 'speed'; it has 'delay'"):
        protocol.write(np.array([1.0]), Asked("7", ("speed",)))


def _scored(
    protocol: OpenInference, predict: Callable[[Any], Any], frames: Sequence[tuple[Format, bytes]]
) -> list[tuple[int, Any]]:
    model = Model(protocol._intake, lambda data, _: predict(data), None)
    scorer = Scorer(model, batched=True, oip=protocol)
    requests = [
        Request(Frame(Kind.REQUEST, number, body, format=format_), 0.0)
        for number, (format_, body) in enumerate(frames)
    ]
    return [(each.status, msgspec.json.decode(each.body)) for each in scorer.answer(requests)]


def test_both_protocols_share_a_batch_and_each_is_answered_as_it_asked(tmp_path: Path) -> None:
    protocol = _protocol(_card(tmp_path, columns=(Column("x", ColumnType.DOUBLE),)))
    calls: list[int] = []

    def predict(frame: Any) -> Any:
        calls.append(len(frame))
        return frame["x"].to_numpy() * 2

    tensors = _body([_tensor("x", "FP64", [1.0, 2.0])], id="a")
    spoilt = _body([_tensor("x", "BYTES", ["1"])])
    found = _scored(
        protocol,
        predict,
        [
            (Format.JSON, b'{"inputs":{"x":[5.0]}}'),
            (Format.OIP, tensors),
            (Format.OIP, spoilt),
            (Format.JSON, b'{"inputs":{"x":["1"]}}'),
            (Format.JSON, b'{"inputs":{"x":[7.0]}}'),
        ],
    )
    assert calls == [4]
    assert found[0] == (200, {"predictions": [10.0]})
    assert found[1] == (
        200,
        {
            "id": "a",
            "outputs": [{"name": "output-1", "datatype": "FP64", "shape": [2], "data": [2.0, 4.0]}],
        },
    )
    assert (found[2][0], list(found[2][1])) == (400, ["error"])
    assert (found[3][0], found[3][1]["error_code"]) == (400, "BAD_REQUEST")
    assert found[4] == (200, {"predictions": [14.0]})


def test_an_empty_request_asks_what_the_model_takes(columns: OpenInference) -> None:
    def never(_: Any) -> Any:
        raise AssertionError("nobody asked for a prediction")

    [(status, said)] = _scored(columns, never, [(Format.OIP, b"")])
    assert (status, said["platform"]) == (200, "mlflow_pyfunc")


def test_a_model_without_that_protocol_refuses_it() -> None:
    class Nothing:
        def parse(self, _body: bytes, _format: Format) -> Any:
            raise BadRequest("This model reads nothing.")

    scorer = Scorer(Model(Nothing(), lambda *_: None, None), batched=True)  # type: ignore[arg-type]
    [answer] = scorer.answer([Request(Frame(Kind.REQUEST, 1, b"{}", format=Format.OIP), 0.0)])
    assert (answer.status, answer.body) == (400, b'{"error":"This model reads nothing."}')


def test_refusals_are_those_of_the_house() -> None:
    assert issubclass(BadAnswer, SerinusError)
