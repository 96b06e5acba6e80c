"""What clients do with errors by themselves: they must retry what passes, and nothing else."""

import ast
from pathlib import Path

import pytest

from serinus import errors
from serinus.api.errors import error_response
from serinus.errors import RETRIED, SerinusError

SOURCES = sorted(Path(errors.__file__).parent.rglob("*.py"))


def _subclasses(kind: type[SerinusError]) -> list[type[SerinusError]]:
    return [each for sub in kind.__subclasses__() for each in (sub, *_subclasses(sub))]


# Those of other modules too, as far as anything has imported them.
CLASSES: list[type[SerinusError]] = [SerinusError, *dict.fromkeys(_subclasses(SerinusError))]


@pytest.mark.parametrize("kind", CLASSES, ids=[each.__name__ for each in CLASSES])
def test_what_passes_says_when_to_come_again_and_nothing_else_does(
    kind: type[SerinusError],
) -> None:
    if "__init__" in vars(kind):
        pytest.skip("made of other things than a message; its parent is asked")
    headers = error_response(kind()).headers
    passes = kind.status in (429, 503)
    assert ("retry-after" in headers) is passes
    if passes:
        assert int(headers["retry-after"]) >= 1
        assert error_response(kind(retry_after=7)).headers["retry-after"] == "7"


def test_no_text_of_ours_holds_a_phrase_by_which_clients_retry() -> None:
    found = []
    for path in SOURCES:
        if path.name == "errors.py" and path.parent.name == "serinus":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [(path.name, p) for p in RETRIED if p in node.value]
    assert found == []


@pytest.mark.parametrize("phrase", RETRIED)
def test_nor_does_a_models_own_word_make_clients_retry(phrase: str) -> None:
    error = errors.BadRequest(f"The model says: {phrase} {phrase}")
    assert phrase not in error.message
    assert error.message.lower() == f"the model says: {phrase} {phrase}".lower()
    assert str(error) == error.message
