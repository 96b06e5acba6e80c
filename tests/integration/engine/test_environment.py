"""Environments: the server's own where it fits, else built by a real uv and shared."""

import io
import os
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uv

from serinus.engine.environment import EnvironmentBuilder, EnvironmentFailed, Policy
from serinus.entities import ModelRef

SIX = "six==1.16.0"


def model(*lines: str, python: str = platform.python_version()) -> ModelRef:
    return ModelRef("d" * 64, "models:/m/1", "models:/m/1", lines, python)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def builder(home: Path, policy: Policy = Policy.AUTO, **environ: str) -> EnvironmentBuilder:
    return EnvironmentBuilder(
        home, uv.find_uv_bin(), environ={**os.environ, **environ}, policy=policy, timeout_s=120
    )


def uv_that(tmp_path: Path, body: str) -> str:
    """A program in the place of uv, to show what can't be had on demand."""
    program = tmp_path / "uv"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_the_own_environment_is_taken_where_it_fits(home, log):
    ref = builder(home).prepare(model("msgspec", "packaging>=20"), home, log.append)
    assert (ref.kind, ref.python) == ("current", sys.executable)
    assert "exactly" in log[-1]
    assert list((home / "envs").iterdir()) == []


def test_a_model_without_requirements_gets_the_own_environment(home, log):
    assert builder(home).prepare(model(), home, log.append).kind == "current"
    assert "no requirements" in log[0]


def test_as_asked_the_own_environment_serves_in_spite_of_differences(home, log):
    ref = builder(home, Policy.CURRENT).prepare(model("no-such-thing==1.0"), home, log.append)
    assert ref.kind == "current"
    assert any("no-such-thing: wanted ==1.0, have nothing" in line for line in log)


def test_differences_are_data(home):
    (found,) = builder(home).diff(model("no-such-thing==1.0"))
    assert (found.name, found.wanted, found.have) == ("no-such-thing", "==1.0", "")


def test_an_environment_is_built_once_and_shared(home, log):
    wanted = model(SIX)
    ref = builder(home, Policy.BUILD).prepare(wanted, home, log.append)
    assert ref.kind == "built"
    assert ref.python.startswith(str(home / "envs" / ref.digest))
    assert any(SIX in line for line in log)
    listed = "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))"
    done = subprocess.run([ref.python, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['msgspec', 'six']"

    never = uv_that(home, "exit 9")
    again = EnvironmentBuilder(home, never, environ={}, policy=Policy.BUILD)
    assert again.prepare(model(" six == 1.16.0 "), home, log.append) == ref
    assert "there already" in log[-1]


def test_builders_at_once_do_not_collide(home):
    def build(_: int) -> str:
        return builder(home, Policy.BUILD).prepare(model(SIX), home, lambda line: None).python

    with ThreadPoolExecutor(4) as pool:
        (python,) = set(pool.map(build, range(4)))
    assert subprocess.run([python, "-c", "import six, msgspec"], check=False).returncode == 0


def test_nothing_of_the_server_leaks_into_the_build(home, log, tmp_path):
    ref = builder(
        home,
        Policy.BUILD,
        VIRTUAL_ENV=str(tmp_path / "elsewhere"),
        PYTHONPATH=str(tmp_path),
        UV_PROJECT_ENVIRONMENT=str(tmp_path / "elsewhere"),
        UV_PYTHON="3.99",
    ).prepare(model(SIX), home, log.append)
    assert Path(ref.python).exists()
    assert not (tmp_path / "elsewhere").exists()


def test_constraints_limit_and_ask_for_nothing(home, log):
    wanted = model("six", "--constraint six<1.17", "--constraint attrs<20")
    ref = builder(home, Policy.BUILD).prepare(wanted, home, log.append)
    listed = "import importlib.metadata as m; print(m.version('six'), len(list(m.distributions())))"
    done = subprocess.run([ref.python, "-c", listed], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.16.0", "2"]


def test_what_can_not_be_resolved_keeps_the_resolvers_words(home, log):
    with pytest.raises(EnvironmentFailed, match="can't be installed together") as caught:
        builder(home).prepare(model("six==99.9"), home, log.append)
    assert "six==99.9" in str(caught.value)
    assert "No solution found" in "\n".join(log)
    assert [each.suffix for each in (home / "envs").iterdir()] == [".lock"]


def test_a_failed_build_can_be_tried_again(home, log, tmp_path):
    broken = EnvironmentBuilder(home, uv_that(tmp_path, "exit 2"), environ={}, policy=Policy.BUILD)
    with pytest.raises(EnvironmentFailed):
        broken.prepare(model(SIX), home, log.append)
    assert builder(home).prepare(model(SIX, "six<2"), home, log.append).kind == "built"


def test_a_python_that_is_too_old_is_refused_at_once(home, log):
    with pytest.raises(EnvironmentFailed, match=r"Python 3\.9, but a replica needs 3\.10"):
        builder(home).prepare(model(SIX, python="3.9.1"), home, log.append)


def test_a_python_that_is_nowhere_is_named(home, log):
    with pytest.raises(EnvironmentFailed, match=r"Python 3\.77"):
        builder(home, UV_PYTHON_DOWNLOADS="never").prepare(
            model(SIX, python="3.77.1"), home, log.append
        )


def test_an_index_that_does_not_answer_is_named(home, log):
    unreachable = builder(
        home, UV_INDEX_URL="http://127.0.0.1:9/simple", UV_NO_CACHE="1", UV_HTTP_RETRIES="0"
    )
    with pytest.raises(EnvironmentFailed, match="index can't be reached"):
        unreachable.prepare(model("six==1.15.0"), home, log.append)


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    """A package index whose only package has one version, which was yanked."""
    wheel = io.BytesIO()
    info = "serinus_withdrawn-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("serinus_withdrawn.py", "")
        archive.writestr(f"{info}/METADATA", "Name: serinus-withdrawn\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    file = "serinus_withdrawn-1.0-py3-none-any.whl"
    page = f'<a href="/{file}" data-yanked="it forgot a column">{file}</a>'
    pages = {
        "/simple/serinus-withdrawn/": (b"<!DOCTYPE html>" + page.encode(), "text/html"),
        f"/{file}": (wheel.getvalue(), "application/octet-stream"),
    }

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, kind = pages.get(self.path, (b"", ""))
            self.send_response(200 if content else 404)
            self.send_header("content-type", kind or "text/plain")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_a_yanked_version_is_not_chosen_and_its_reason_is_told(home, log, index):
    with pytest.raises(EnvironmentFailed, match="can't be installed together") as caught:
        builder(home, UV_INDEX=index).prepare(model("serinus-withdrawn>=1"), home, log.append)
    assert "serinus-withdrawn==1.0 was yanked (reason: it forgot a column)" in str(caught.value)


def test_a_yanked_version_that_is_pinned_is_installed_and_said(home, log, index):
    """As every installer does: who pins it has it already, and must be able to have it again."""
    ref = builder(home, UV_INDEX=index).prepare(model("serinus-withdrawn==1.0"), home, log.append)
    assert ref.kind == "built"
    assert "is yanked" in "\n".join(log)


def test_a_disk_that_is_full(home, log):
    (home / "envs").mkdir(parents=True)
    mount, umount = shutil.which("mount"), shutil.which("umount")
    small = ["-t", "tmpfs", "-o", "size=300k", "tmpfs", str(home / "envs")]
    if not (mount and umount) or subprocess.run([mount, *small], check=False).returncode:
        pytest.skip("only root can make a small disk")
    try:
        with pytest.raises(EnvironmentFailed, match="There is no room for the environment"):
            builder(home).prepare(model(SIX, "six<3"), home, log.append)
        assert "No space left on device" in "\n".join(log)
        assert [each.suffix for each in (home / "envs").iterdir()] == [".lock"]
    finally:
        subprocess.run([umount, str(home / "envs")], check=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'error: failed: No space left on device (os error 28)' >&2; exit 2", "no room"),
        ("echo 'error: Failed to build `x==1`' >&2; exit 1", "from source"),
        ("echo 'error: something new' >&2; exit 1", "something new"),
        ("exec sleep 60", "ended after"),
    ],
)
def test_other_failures_become_a_sentence(home, log, tmp_path, body, words):
    broken = EnvironmentBuilder(
        home, uv_that(tmp_path, body), environ={}, policy=Policy.BUILD, timeout_s=1.0
    )
    with pytest.raises(EnvironmentFailed, match=words) as caught:
        broken.prepare(model(SIX), home, log.append)
    assert str(caught.value).endswith(".")


def test_a_missing_uv_is_named(home, log):
    missing = EnvironmentBuilder(home, "/no/such/uv", environ={}, policy=Policy.BUILD)
    with pytest.raises(EnvironmentFailed, match="/no/such/uv"):
        missing.prepare(model(SIX), home, log.append)
