"""The command line hands its settings to the supervisor whole, and not where others see them."""

import os
from pathlib import Path

import pytest

from serinus.server.start import become_supervisor, told_settings
from serinus.settings import Settings


class Become(Exception):
    """What `os.execv` was asked to make of this process; in life it never returns."""


def test_the_supervisor_is_told_all_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execv(path: str, arguments: list[str]) -> None:
        raise Become(path, arguments)

    monkeypatch.setattr(os, "execv", execv)
    settings = Settings(home=tmp_path, store="postgresql://me:secret@db/serinus", port=4711)
    with pytest.raises(Become) as become:
        become_supervisor(settings)
    path, arguments = become.value.args
    assert arguments[:3] == [path, "-m", "serinus.server.supervisor"]
    assert "secret" not in " ".join(arguments)
    descriptor = int(arguments[3])
    assert os.get_inheritable(descriptor)
    assert told_settings(descriptor) == settings
