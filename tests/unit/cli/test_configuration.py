"""Commands without `--config` go by the same file as `serinus serve`."""

from pathlib import Path

import pytest

from serinus.cli.configuration import settings_in_force


def test_the_file_that_the_environment_names_comes_before_the_one_that_lies_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SERINUS_HOME", "SERINUS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    Path("serinus.toml").write_text('home = "here"\n', encoding="utf-8")
    Path("other.toml").write_text('home = "elsewhere"\n', encoding="utf-8")
    assert settings_in_force(None).home.name == "here"
    monkeypatch.setenv("SERINUS_CONFIG", "other.toml")
    assert settings_in_force(None).home.name == "elsewhere"
    assert settings_in_force(Path("serinus.toml")).home.name == "here"
    assert settings_in_force(None, home=tmp_path / "told").home.name == "told"
