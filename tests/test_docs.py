"""The documents tell the truth: pages list what there is, and examples run against a real server.

An example is run unless ``<!-- not run: reason -->`` stands before its block. Commands that start
a server, install something or call make are checked against what there is, and not run.
"""

import asyncio
import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from fastapi import FastAPI

from serinus import errors
from serinus.api.app import create_app
from serinus.cli.app import app
from serinus.cli.output import Exit
from serinus.entities import ConfigUpdate, Deployment
from serinus.replica.batching import SIZES, ULPS
from serinus.replica.card import ColumnType
from serinus.replica.cells import EXPECTED, Refused, check
from serinus.replica.envelope import FORMS, MAX_DEPTH
from serinus.server.layout import Layout
from serinus.settings import CLIENT_VARIABLES, load_settings, settings
from serinus.store.repository import Store
from tests.e2e.running import Running, running

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
#: Pages whose examples are run, each from its beginning to its end. The README's commands are
#: those of the quickstart and of split-traffic on another model: checked, not run once more.
LIVE = [
    DOCS / "quickstart.md",
    *sorted((DOCS / "how-to").glob("*.md")),
    REFERENCE / "scoring.md",
    REFERENCE / "open-inference.md",
]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[\w ]+): (?P<note>.*?) -->\n\n?)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: Commands that the server under test makes needless, or that change the machine.
_NOT_RUN = ("serinus serve", "serinus demo", "make ", "pip install", "python make_models.py")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    #: Why it is not run; empty when it is.
    not_run: str


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _blocks(page: Path) -> list[Block]:
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        assert match["marker"] in (None, "not run"), f"{page.name}: {match['marker']}"
        assert match["marker"] is None or match["note"], f"{page.name}: not run, and no reason"
        found.append(Block(match["language"], match["text"], match["note"] or ""))
    return found


def _rows(page: str, *header: str) -> list[list[str]]:
    """The cells of the tables with this header; backticks stay."""
    rows: list[list[str]] = []
    inside = False
    for line in (REFERENCE / page).read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if tuple(cells[: len(header)]) == header:
            inside = True
        elif inside and not set(line) <= set("|-"):
            rows.append(cells)
    assert rows, f"{page} has no table {header}"
    return rows


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- the reference pages


def test_every_setting_is_documented_as_it_is() -> None:
    rows = {_code(row[0])[0]: row for row in _rows("settings.md", "key", "variable")}
    assert list(rows) == [setting.name for setting in settings()]
    for setting in settings():
        _, variables, default, meaning = rows[setting.name]
        assert _code(variables) == list(setting.variables)
        shown = _code(default)
        if shown:
            assert setting.parse(shown[0]) == setting.default, setting.name
        else:
            assert setting.default in (None, ""), setting.name
        assert meaning.endswith(".")


def test_the_settings_in_the_quickstart_are_the_settings() -> None:
    text = (DOCS / "quickstart.md").read_text()
    table = text[text.index("| key | default |") :]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [each.name for each in settings()]


def test_the_variables_of_the_client_are_documented() -> None:
    rows = _rows("settings.md", "variable", "default")
    assert {_code(row[0])[0] for row in rows} == CLIENT_VARIABLES


def test_every_error_is_documented_as_it_is() -> None:
    documented = [(_code(row[0])[0], int(row[1])) for row in _rows("errors.md", "code", "status")]
    classes = [getattr(errors, name) for name in errors.__all__ if name != "SerinusError"]
    assert sorted(documented) == sorted((each.code, each.status) for each in classes)


def _commands(command: Any, path: tuple[str, ...] = ("serinus",)) -> dict[str, Any]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return {" ".join(path): command}
    return {
        name: found
        for word, each in inner.items()
        for name, found in _commands(each, (*path, word)).items()
    }


COMMANDS = _commands(typer.main.get_command(app))


def _options(command: Any) -> set[str]:
    options = (each for each in command.params if each.param_type_name == "option")
    return {name for each in options for name in (*each.opts, *each.secondary_opts)}


def test_every_command_and_every_option_is_documented() -> None:
    text = (REFERENCE / "cli.md").read_text()
    sections = dict(re.findall(r"^## (serinus .+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert sections.keys() == COMMANDS.keys()
    for name, section in sections.items():
        told = {
            word
            for code in _code(re.sub(r"`serinus [^`]*`", "", section))
            for word in code.split()
            if re.fullmatch(r"--?[a-z][a-z-]*", word)
        }
        assert told - {"--model"} == _options(COMMANDS[name]) - {"--model"}, name
        for option in _options(COMMANDS[name]):
            assert f"`{option}`" in section, f"{name} {option}"


def test_every_exit_code_is_documented() -> None:
    rows = _rows("cli.md", "code", "name")
    assert [(int(row[0]), row[1]) for row in rows] == [(e.value, e.name.lower()) for e in Exit]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FastAPI]:
    with closing(Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")) as store:
        yield create_app(
            store,
            wake=lambda: None,
            replica_logs=lambda endpoint_id, served: "",
            clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
            new_id=lambda: "0" * 32,
            workspace_id="1",
        )


def _control_rows() -> dict[tuple[str, str], str]:
    rows = _rows("rest-api.md", "method", "path", "state")
    return {(_code(method)[0], _code(path)[0]): state for method, path, state in rows}


def _registered(routes: list[Any]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for route in routes:
        if getattr(route, "path", None) is not None and getattr(route, "methods", None):
            path = route.path.rstrip("/")
            found |= {(method, path) for method in route.methods if method != "HEAD"}
        else:
            router = getattr(route, "original_router", None) or route
            found |= _registered(router.routes)
    return found


def test_every_route_of_the_control_api_is_documented(api: FastAPI) -> None:
    assert _control_rows().keys() == _registered(list(api.routes))


def test_a_route_is_501_exactly_where_the_page_says_so(api: FastAPI) -> None:
    async def ask() -> dict[tuple[str, str], str]:
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://me") as client:
            answers = {}
            for method, path in _control_rows():
                target = re.sub(r"\{\w+\}", "x", path)
                answer = await client.request(method, target, json={})
                answers[method, path] = "501" if answer.status_code == 501 else "works"
            return answers

    assert asyncio.run(ask()) == _control_rows()


def test_every_state_is_documented() -> None:
    updates = _rows("rest-api.md", "`state.config_update`")
    assert [_code(row[0])[0] for row in updates] == [each.value for each in ConfigUpdate]
    deployments = _rows("rest-api.md", "`state.deployment` of a served entity")
    assert {_code(row[0])[0] for row in deployments} == {each.value for each in Deployment}


def test_forms_types_and_numbers_of_scoring_are_documented_as_they_are() -> None:
    assert [_code(row[0])[0] for row in _rows("scoring.md", "form", "shape")] == list(FORMS)
    text = (REFERENCE / "scoring.md").read_text()
    for fact in (
        f"deeper than {MAX_DEPTH}",
        f"batches of {', '.join(map(str, SIZES))}",
        f"within {ULPS} units in the last place",
    ):
        assert fact in text
    default = load_settings(None, {}, {})
    limits = {_code(row[1])[0]: row[0] for row in _rows("scoring.md", "limit", "setting")}
    assert limits["max_body"] == f"body {default.max_body // 2**20} MiB"
    assert limits["deadline"].startswith(f"{default.deadline:.0f} s ")
    assert limits["queue_limit"].startswith(f"{default.queue_limit} requests ")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # dates stand there without their quotes


def test_cells_are_accepted_and_refused_as_the_page_says() -> None:
    rows = _rows("scoring.md", "type", "accepted")
    assert {_code(row[0])[0] for row in rows} == {each.value for each in EXPECTED}
    for name, accepted, refused in rows:
        type_ = ColumnType(_code(name)[0])
        for value in map(_value, _code(accepted)):
            check(value, type_)
        for value in map(_value, _code(refused)):
            with pytest.raises(Refused):
                check(value, type_)


# --- all pages


def test_every_link_leads_somewhere() -> None:
    lost = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                lost.append((_id(page), target))
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / each).resolve() for each in re.findall(r"\]\(([^)#]+)", index.read_text())}
    assert {_id(page) for page in DOCS.rglob("*.md") if page != index} <= {
        _id(page) for page in linked
    }


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_every_block_can_be_read(page: Path, tmp_path: Path) -> None:
    for block in _blocks(page):
        match block.language:
            case "json":
                json.loads(block.text)
            case "python":
                compile(block.text, _id(page), "exec")
            case "toml":
                (tmp_path / "serinus.toml").write_text(block.text)
                load_settings(tmp_path / "serinus.toml", {}, {})
            case "console":
                for command in _shell(block.text):
                    _check_command(command.line)
            case _:
                pass  # pictures and answers are for people


# --- running them


@dataclass(frozen=True)
class Command:
    line: str
    #: Lines that must be in its output.
    output: tuple[str, ...]
    code: int = 0


def _shell(text: str) -> list[Command]:
    """The commands of a console block; ``$ echo $?`` tells the code of the one before."""
    commands: list[Command] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        joined = part.replace("\\\n", "")
        line, _, output = joined.partition("\n")
        lines = tuple(each for each in output.splitlines() if each.strip())
        if line.strip() == "echo $?":
            last = commands.pop()
            commands.append(Command(last.line, last.output, int(lines[0])))
        else:
            commands.append(Command(line.strip(), lines))
    return commands


def _check_command(line: str) -> None:
    """A command of ours must exist with these options; make must have the target."""
    words = [each for each in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", each)]
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in words[1:]), line
    if words[0] == "serinus":
        depth = 3 if " ".join(words[:3]) in COMMANDS else 2
        command = COMMANDS[" ".join(words[:depth])]
        options = {word for word in words[depth:] if word.startswith("-") and word != "-"}
        assert options <= _options(command), line


def _server_environment(directory: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SERINUS_", "MLFLOW_", "DATABRICKS_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    store = f"sqlite:///{directory / 'mlflow.db'}"
    return {**kept, "PATH": path, "MLFLOW_TRACKING_URI": store, "PYTHONWARNINGS": "ignore"}


_WORKER = """
import contextlib, io, json, os, sys, traceback
for line in sys.stdin:
    environ, said, good = dict(os.environ), io.StringIO(), True
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            exec(compile(json.loads(line), "example.py", "exec"), {"__name__": "__main__"})
        except BaseException:
            good = False
            traceback.print_exc()
    os.environ.clear()
    os.environ.update(environ)
    print(json.dumps([good, said.getvalue()]), flush=True)
"""


class Python:
    """Runs Python examples one after the other in one process: MLflow takes seconds to import."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            env=_server_environment(directory),
            text=True,
        )

    def run(self, text: str) -> None:
        """Run an example; fails with its traceback."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(text) + "\n")
            self._process.stdin.flush()
            good, said = json.loads(self._process.stdout.readline())
        assert good, f"{text}\n{said}"

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def python(directory: Path) -> Iterator[Python]:
    with closing(Python(directory)) as python:
        yield python


@pytest.fixture(scope="module")
def server(directory: Path, python: Python) -> Iterator[Running]:
    """A server whose models are those that the quickstart makes, as it makes them."""
    [make_models] = [
        block.text
        for block in _blocks(DOCS / "quickstart.md")
        if block.text.startswith("# make_models.py")
    ]
    python.run(make_models)
    environ = {"SERINUS_REMOTE_HOSTS": "127.0.0.1"}
    with running(directory, "--model", "models:/line/1", environ=environ) as server:
        server.wait("line")
        yield server


def _run(server: Running, command: Command, environ: dict[str, str]) -> None:
    line = command.line
    exported = re.fullmatch(r"export (\w+)=(\S+)", line)
    if exported:
        environ[exported[1]] = exported[2]
        return
    done = subprocess.run(
        ["/bin/bash", "-c", line],
        cwd=server.home.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = f"$ {line}\n{done.stdout}{done.stderr}"
    if line.startswith("serinus doctor"):
        # What it finds is this machine's affair; that it looked is what counts.
        assert done.returncode in (Exit.GOOD, Exit.FINDING), told
        assert "socket path" in done.stdout, told
    else:
        assert done.returncode == command.code, told
    for expected in command.output:
        assert expected in done.stdout.splitlines(), told


def _runs(line: str) -> bool:
    bare = re.sub(r"^(?:[A-Z_]+=\S+ )*", "", line)
    return not bare.startswith(_NOT_RUN)


def _follow(page: Path, server: Running, python: Python) -> None:
    """Do all that a page tells its reader to do, in its order."""
    environ = {**_server_environment(server.home.parent), "SERINUS_SERVER": server.url}
    ran = 0
    for block in _blocks(page):
        if block.not_run:
            continue
        text = re.sub(r"(localhost|127\.0\.0\.1):8080", f"127.0.0.1:{server.port}", block.text)
        if block.language == "console":
            for command in filter(lambda each: _runs(each.line), _shell(text)):
                _run(server, command, environ)
                ran += 1
        elif block.language == "python" and not text.startswith("# make_models.py"):
            python.run(text)
            ran += 1
        elif named := re.match(r"# ([\w-]+\.yaml)\n", text):
            (server.home.parent / named[1]).write_text(text)
        elif block.language == "json":
            (server.home.parent / "split.json").write_text(text)
    assert ran, f"nothing on {page.name} was run"


@pytest.fixture(scope="module")
def followed(server: Running, python: Python) -> Iterator[dict[Path, Future[None]]]:
    """All pages, two at a time: each uses endpoints of its own, and most of it is waiting."""
    with ThreadPoolExecutor(2) as pool:
        yield {page: pool.submit(_follow, page, server, python) for page in LIVE}


@pytest.mark.parametrize("page", LIVE, ids=_id)
def test_the_examples_run(page: Path, followed: dict[Path, Future[None]]) -> None:
    followed[page].result()


def test_every_path_of_the_data_plane_is_there(server: Running) -> None:
    rows = _rows("rest-api.md", "method", "path", "what")
    for method, path, _ in rows:
        served = server.get("line")["config"]["served_entities"][0]["name"]
        target = _code(path)[0].replace("{name}", "line").replace("{served}", served)
        body = {"inputs": {"x": [5.0]}} if method == "`POST`" else None
        answer = server.http.request(_code(method)[0], target, json=body)
        assert answer.status_code == 200, (target, answer.text)
        if method == "`POST`":
            assert (answer.json(), answer.headers["served-model-name"]) == (
                {"predictions": [10.0]},
                served,
            )


def test_the_home_holds_what_the_page_says_and_nothing_else(
    server: Running, followed: dict[Path, Future[None]]
) -> None:
    wait(followed.values())
    rows = [_code(row[0]) for row in _rows("home.md", "path", "what")]
    patterns = [re.sub(r"<\w+>", "*", each) for row in rows for each in row]
    there = [each.relative_to(server.home).as_posix() for each in server.home.rglob("*")]
    # A long path of the home moves the sockets out of it.
    there += [f"run/{each.name}" for each in Layout(server.home).run.iterdir()]
    # Below a model, an environment or a replica's directory is that one's own affair.
    inside = ("models/*/*", "envs/*/*", "run/replicas/*/*", "run/runtime/*")
    parents = {parent.as_posix() for each in patterns for parent in Path(each).parents}
    unknown = [
        path
        for path in there
        if not any(
            path.count("/") == each.count("/") and fnmatch.fnmatch(path, each) for each in parents
        )
        and not any(fnmatch.fnmatch(path, pattern) for pattern in (*patterns, *inside))
    ]
    assert unknown == []
    sometimes = {
        "forms/*",
        "models/.*",
        "envs/*",
        "envs/*.lock",
        "envs/.*",
        "logs/replicas/*.log.1",
        "secrets/*/*",
    }
    missing = [
        pattern
        for pattern in patterns
        if pattern not in sometimes and not any(fnmatch.fnmatch(path, pattern) for path in there)
    ]
    assert missing == []
