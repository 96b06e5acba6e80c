"""Completion as a shell has it: the script is loaded, and words are asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.cli.completion import Shell

SERINUS = Path(sys.executable).with_name("serinus")


def serinus(*arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [str(SERINUS), *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("shell", list(Shell))
def test_each_shell_has_its_script(shell: Shell) -> None:
    script = serinus("completion", shell)
    assert f"_SERINUS_COMPLETE=complete_{shell}" in script
    found = shutil.which(shell)
    if found is not None:
        checked = subprocess.run([found, "-n"], input=script, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(serinus("completion", "bash"))
    ask = """
    source ./script
    complete_for() {
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _serinus_completion serinus
        echo "${COMPREPLY[@]}"
    }
    complete_for serinus end
    complete_for serinus rollout s
    complete_for serinus apply --f
    """
    done = subprocess.run(
        ["/bin/bash", "-c", ask],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{SERINUS.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["endpoints", "start status", "--file"], done.stderr
