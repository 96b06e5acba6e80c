"""The house is built as ARCHITECTURE.md says: what can be checked of it is checked here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "serinus"
_LINES_A_FILE = 420
_LINES_OF_ARCHITECTURE = 130
#: Names that say nothing about what is inside, so that everything ends up there.
_EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "base", "core", "manager", "misc"}


def _modules() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 50, "the package is not where this test looks for it"
    return found


def _contracts() -> dict[str, dict[str, list[str]]]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {each["id"]: each for each in document["tool"]["importlinter"]["contracts"]}


def test_every_import_contract_is_kept() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(lint_imports), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert f"Contracts: {len(_contracts())} kept, 0 broken" in report, report


def test_the_floors_in_the_text_are_those_of_the_contract() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    drawn = re.findall(r"^`(__main__ > .*)`$", text, re.MULTILINE)
    assert [each.split(" > ") for each in drawn] == [_contracts()["layers"]["layers"]]


def test_no_file_is_too_long_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): _lines(path) for path in _modules()}
    assert {name: count for name, count in lengths.items() if count > _LINES_A_FILE} == {}


def test_architecture_stays_two_pages() -> None:
    assert _lines(ROOT / "ARCHITECTURE.md") <= _LINES_OF_ARCHITECTURE


def test_every_module_is_named_for_what_it_holds() -> None:
    names = {
        str(path.relative_to(PACKAGE)): {*path.relative_to(PACKAGE).parts[:-1], path.stem}
        for path in _modules()
    }
    assert [path for path, parts in names.items() if parts & _EMPTY_NAMES] == []


def test_every_file_that_architecture_sends_readers_to_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    mentioned = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    files = {path.relative_to(PACKAGE).as_posix() for path in _modules()}
    assert mentioned, "ARCHITECTURE.md names no file"
    lost = [
        name for name in mentioned if not any(f"/{each}".endswith(f"/{name}") for each in files)
    ]
    assert lost == []


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
