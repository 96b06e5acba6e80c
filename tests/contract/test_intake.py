"""What the strict intake makes of each type in each form, beside MLflow's own scoring server.

The table in docs/reference/intake.md is made here: ``SERINUS_WRITE_DOCS=1`` writes it anew.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from serinus.replica.protocol import Format

if TYPE_CHECKING:
    from tests.contract.scoring import Answer, Served

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "intake.md"
# What is an error here would be a value in MLflow's own process.
pytestmark = pytest.mark.filterwarnings("ignore")

BEGIN, END = "<!-- begin: made by tests/contract/test_intake.py -->", "<!-- end -->"
INSTANT = "2013-01-31T17:05:00"


@dataclass(frozen=True)
class Case:
    name: str
    cells: Any
    #: What it is in JSON and Parquet: a value of the type, or not.
    right: bool
    #: The same for its text in CSV, which has no types.
    csv: bool | None = None


def good(name: str, *cells: Any) -> Case:
    return Case(name, list(cells), True)


def bad(name: str, *cells: Any, csv: bool = False) -> Case:
    return Case(name, list(cells), False, csv)


_ARRAYS = [
    good("empty", []),
    bad("null", None),
    bad("no array", 5),
]
CASES: dict[str, list[Case]] = {
    "boolean": [
        good("true", True),
        bad("null", None),
        bad('"false"', "false", csv=True),
        bad("1", 1),
        bad('"yes"', "yes"),
    ],
    "integer": [
        good("5", 5),
        good("5.0", 5.0),
        bad("null", None),
        bad("100.7", 100.7),
        bad('"7"', "7", csv=True),
        bad("2^31", 2**31),
        bad("true", True),
    ],
    "long": [
        good("5", 5),
        good("2^53 + 1", 2**53 + 1),
        bad("null", None),
        bad("100.7", 100.7),
        bad('"7"', "7", csv=True),
        bad("2^63", 2**63),
        bad("true", True),
    ],
    "float": [
        good("1.5", 1.5),
        good("10", 10),
        good("null", None),
        bad('"10.5"', "10.5", csv=True),
        bad("1e39", 1e39),
        bad("2^24 + 1", 2**24 + 1),
        bad("true", True),
    ],
    "double": [
        good("1.5", 1.5),
        good("10", 10),
        good("1e308", 1e308),
        good("null", None),
        bad('"10.5"', "10.5", csv=True),
        bad('"10,5"', "10,5"),
        bad("2^53 + 1", 2**53 + 1),
        bad("true", True),
    ],
    "string": [
        good('"AA"', "AA"),
        good('""', ""),
        good('"2013"', "2013"),
        good("null", None),
        good('"AA" and null', "AA", None),
        bad("5", 5, csv=True),
        bad("true", True, csv=True),
        bad('"a" and 5', "a", 5, csv=True),
        bad("an array", ["a"]),
    ],
    "binary": [
        good('"YWI="', "YWI="),
        bad("null", None),
        bad('"YW I="', "YW I="),
        bad('"YWI"', "YWI"),
        bad('"%%%"', "%%%"),
        bad("5", 5),
    ],
    "datetime": [
        good(f'"{INSTANT}"', INSTANT),
        good('"2013-01-31"', "2013-01-31"),
        good("null", None),
        bad('"01/02/2013"', "01/02/2013"),
        bad("1357000000000", 1357000000000),
        bad('"2013-02-31"', "2013-02-31"),
        bad(f'"{INSTANT}Z"', f"{INSTANT}Z"),
        bad('"9999-12-31"', "9999-12-31"),
    ],
    "tensor of float64, (-1, 2)": [
        good("[[1.0, 2.5]]", [1.0, 2.5]),
        good("[[1, 2], [3, 4]]", [1, 2], [3, 4]),
        good("[[1.0, null]]", [1.0, None]),
        bad('[["1", "2"]]', ["1", "2"], csv=True),
        bad("[[true, false]]", [True, False]),
        bad("[[1.0]]", [1.0]),
        bad("[[1.0, 2.0], [3.0]]", [1.0, 2.0], [3.0]),
        bad("[[0.5, 2^53 + 1]]", [0.5, 2**53 + 1]),
    ],
    "tensor of int64, (-1), named": [
        good("[1]", 1),
        good("[1.0]", 1.0),
        bad("[null]", None),
        bad("[1.5]", 1.5),
        bad('["1"]', "1", csv=True),
        bad("[true]", True),
        bad("[2^63]", 2**63),
    ],
    "array of double": [
        good("[1.0, 2.5]", [1.0, 2.5]),
        good("[1, 2]", [1, 2]),
        good("[1.0, null]", [1.0, None]),
        *_ARRAYS,
        bad('["1"]', ["1"]),
        bad("[true]", [True]),
    ],
    "array of string": [
        good('["a"]', ["a"]),
        *_ARRAYS,
        bad('["a", null]', ["a", None]),
        bad('["a", 5]', ["a", 5]),
    ],
    "object": [
        good('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
        good("b absent", {"a": 1}),
        good("b null", {"a": 1, "b": None}),
        bad("null", None),
        bad("a null", {"a": None}),
        bad("a absent", {"b": "x"}),
        bad("a 1.5", {"a": 1.5}),
        bad('a "1"', {"a": "1"}),
        bad("a 2^63", {"a": 2**63}),
        bad("another property", {"a": 1, "c": 2}),
        bad("no object", 5),
    ],
    "map of long": [
        good('{"k": 1}', {"k": 1}),
        good("empty", {}),
        bad("null", None),
        bad("k null", {"k": None}),
        bad("k 1.5", {"k": 1.5}),
        bad('k "1"', {"k": "1"}),
    ],
    "params": [
        good("whole 2", {"whole": 2}),
        good("number 1", {"number": 1}),
        good("flag true", {"flag": True}),
        good("text null", {"text": None}),
        good("a name not declared", {"other": 1}),
        bad("whole 2.5", {"whole": 2.5}),
        bad('whole "2"', {"whole": "2"}),
        bad("whole true", {"whole": True}),
        bad("whole 2^63", {"whole": 2**63}),
        bad('number "1"', {"number": "1"}),
        bad("flag 1", {"flag": 1}),
        bad("text 5", {"text": 5}),
    ],
}
#: Types of which MLflow gives the model another thing for the same value in another form.
FORMS_DIFFER = {"string", "binary", "array of double", "array of string"}

_DEEP = b'{"dataframe_records": [{"x": 1, "z": ' + b"[" * 200 + b"]" * 200 + b"}]}"
REQUESTS: list[tuple[str, bytes, bool]] = [
    ("a column that nobody asked for", b'{"dataframe_records": [{"x": 1, "z": 2}]}', True),
    ("an optional column is absent", b'{"dataframe_records": [{"x": 1}]}', True),
    ("a required column is absent", b'{"dataframe_records": [{"y": "a"}]}', False),
    ("a key twice in a row", b'{"dataframe_records": [{"x": 1, "x": 2}]}', False),
    ("a key twice, once escaped", b'{"dataframe_records": [{"x": 1, "\\u0078": 2}]}', False),
    (
        "a key twice in the envelope",
        b'{"dataframe_records": [{"x": 1}], "dataframe_records": [{"x": 2}]}',
        False,
    ),
    (
        "`data` twice",
        b'{"dataframe_split": {"columns": ["x"], "data": [[1]], "data": [[2]]}}',
        False,
    ),
    ("a column twice", b'{"dataframe_split": {"columns": ["x", "x"], "data": [[1, 2]]}}', False),
    ("NaN", b'{"dataframe_records": [{"x": NaN}]}', False),
    ("Infinity", b'{"dataframe_records": [{"x": -Infinity}]}', False),
    ("1e400", b'{"dataframe_records": [{"x": 1e400}]}', False),
    ("200 levels deep", _DEEP, False),
    ("no rows", b'{"dataframe_records": []}', False),
    ("two forms", b'{"inputs": {"x": [1]}, "instances": [{"x": 1}]}', False),
    ("a row too short", b'{"dataframe_split": {"columns": ["x", "y"], "data": [[1]]}}', False),
    ("not UTF-8", b'{"dataframe_records": [{"x": 1, "y": "\xff"}]}', False),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Served]":
    from tests.contract.scoring import SIGNATURES, WHOLE, Served

    root = tmp_path_factory.mktemp("signatures")
    made = {
        name: Served(each, root / str(at)) for at, (name, each) in enumerate(SIGNATURES.items())
    }
    return {**made, "": Served(WHOLE, root / "whole")}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_type_is_covered(served: "dict[str, Served]") -> None:
    assert set(CASES) == set(served) - {""}


@pytest.mark.parametrize("type_", CASES)
def test_values_of_the_type_are_read_as_mlflow_does_and_nothing_else_is(
    served: "dict[str, Served]", type_: str
) -> None:
    read: dict[str, set[str]] = {}
    for case in CASES[type_]:
        for form, ours, theirs in _answers(served[type_], type_, case):
            place = f"{type_}: {case.name} by {form}: {ours} {theirs}"
            right = case.csv if form == "CSV" and case.csv is not None else case.right
            assert (ours.status == 200) == right, place
            if right:
                if not theirs.error:
                    assert ours.saw == theirs.saw or type_ in FORMS_DIFFER, place
                if form != "CSV":
                    read.setdefault(case.name, set()).add(ours.saw)
            else:
                assert ours.status == 400, place
                assert "expected" in ours.error, place
    # Whatever the form, the model sees the same.
    assert {name: len(each) for name, each in read.items()} == dict.fromkeys(read, 1)


@pytest.mark.parametrize(("name", "body", "right"), REQUESTS, ids=[each[0] for each in REQUESTS])
def test_whole_requests(served: "dict[str, Served]", name: str, body: bytes, right: bool) -> None:
    ours = served[""].ours(body, Format.JSON)
    assert (ours.status == 200) == right, f"{name}: {ours}"
    if right:
        assert ours == served[""].theirs(body, Format.JSON)


def test_the_page_shows_what_was_found(served: "dict[str, Served]") -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    made = f"{before}{BEGIN}\n\n{_tables(served)}\n{END}{after}"
    if os.environ.get("SERINUS_WRITE_DOCS"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, (
        "docs/reference/intake.md is not what is true now; SERINUS_WRITE_DOCS=1 writes it"
    )


_FOUND: "dict[tuple[str, str], list[tuple[str, Answer, Answer]]]" = {}


def _answers(served: "Served", type_: str, case: Case) -> "list[tuple[str, Answer, Answer]]":
    """Form, our answer and MLflow's, of each form that can carry the case; asked once."""
    from tests.contract.scoring import FORMS, body_of, tensor_body_of

    found = _FOUND.setdefault((type_, case.name), [])
    for form in () if found else FORMS:
        if type_ == "params":
            request = body_of(form, [1.5], params=case.cells[0])
        elif type_.startswith("tensor of float64"):
            request = tensor_body_of(form, case.cells)
        else:
            nested = type_.startswith(("array", "object", "map"))
            request = body_of(form, case.cells, nested=nested)
        if request is not None:
            found.append((form, served.ours(*request), served.theirs(*request)))
    return found


def _tables(served: "dict[str, Served]") -> str:
    from tests.contract.scoring import FORMS

    lines: list[str] = []
    for type_, cases in CASES.items():
        lines += [f"### {type_}", "", f"| sent | {' | '.join(FORMS)} |"]
        lines.append("|---" * (1 + len(FORMS)) + "|")
        for case in cases:
            found = {form: (o, t) for form, o, t in _answers(served[type_], type_, case)}
            cells = [_verdict(*found[form]) if form in found else "" for form in FORMS]
            lines.append(f"| {_code(case.name)} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["### Whole requests", "", "| sent as JSON | answer |", "|---|---|"]
    for name, body, _ in REQUESTS:
        verdict = _verdict(served[""].ours(body, Format.JSON), served[""].theirs(body, Format.JSON))
        lines.append(f"| {name} | {verdict} |")
    return "\n".join(lines) + "\n"


def _verdict(ours: "Answer", theirs: "Answer") -> str:
    if ours.error and theirs.error:
        return "400"
    if ours.error:
        return f"**400**; MLflow: {_seen(theirs)}"
    if theirs.error:
        return f"{_seen(ours)}; MLflow: {theirs.status}"
    return "same" if ours.saw == theirs.saw else f"{_seen(ours)}; MLflow: {_seen(theirs)}"


def _seen(answer: "Answer") -> str:
    row, _, params = answer.saw.removeprefix("x: ").partition(" with ")
    return _code(params or row)


def _code(text: str) -> str:
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
