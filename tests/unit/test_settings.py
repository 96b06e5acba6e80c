from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.settings import (
    SettingsError,
    load_settings,
    parse_duration,
    parse_size,
    settings,
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "serinus.toml"
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = written(tmp_path, 'port = 1\nhost = "::1"\nmax_batch = 7\ndeadline = "5s"')
    found = load_settings(
        path, {"SERINUS_PORT": "2", "SERINUS_HOST": "localhost"}, {"port": 3, "host": None}
    )
    assert (found.port, found.host, found.max_batch, found.queue_limit) == (3, "localhost", 7, 1024)
    assert found.deadline == 5.0


def test_defaults_are_those_of_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = load_settings(None, {}, {})
    assert (found.host, found.port, found.gateways) == ("127.0.0.1", 8080, 1)
    assert found.home == tmp_path / ".serinus"
    assert found.store == f"sqlite:///{tmp_path}/.serinus/serinus.db"
    assert (found.deadline, found.start_deadline, found.drain) == (60.0, 120.0, 30.0)
    assert (found.queue_limit, found.max_body, found.max_batch, found.threads) == (
        1024,
        16 * 1024 * 1024,
        128,
        1,
    )
    assert (found.environments, found.log_level, found.log_format) == ("auto", "info", "console")
    assert found.tracking_uri is None


def test_store_follows_the_home_unless_it_is_set(tmp_path: Path) -> None:
    assert load_settings(None, {}, {"home": tmp_path}).store == f"sqlite:///{tmp_path}/serinus.db"
    elsewhere = "postgresql+psycopg://db/serinus"
    assert load_settings(None, {"SERINUS_STORE": elsewhere}, {"home": tmp_path}).store == elsewhere


def test_mlflow_s_own_variable_counts_but_ours_is_stronger() -> None:
    mlflow = {"MLFLOW_TRACKING_URI": "http://mlflow"}
    assert load_settings(None, mlflow, {}).tracking_uri == "http://mlflow"
    both = mlflow | {"SERINUS_TRACKING_URI": "http://ours"}
    assert load_settings(None, both, {}).tracking_uri == "http://ours"


def test_unknown_key_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "queue_limits = 3\n")
    with pytest.raises(SettingsError, match=r"serinus\.toml.*'queue_limits'.*'queue_limit'"):
        load_settings(path, {}, {})


def test_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"SERINUS_DEADLIN;.*'SERINUS_DEADLINE'"):
        load_settings(None, {"SERINUS_DEADLIN": "3s"}, {})


def test_the_client_s_variables_are_not_settings() -> None:
    environ = {
        "SERINUS_SERVER": "http://x",
        "SERINUS_TOKEN": "t",
        "SERINUS_CONFIG": "c",
        "PATH": "/",
    }
    assert load_settings(None, environ, {}) == load_settings(None, {}, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", "70000"),
        ("port", "http"),
        ("gateways", "0"),
        ("deadline", "soon"),
        ("deadline", "0s"),
        ("max_body", "16 parsecs"),
        ("environments", "conda"),
        ("log_format", "xml"),
        ("max_batch", "-1"),
    ],
)
def test_a_bad_value_names_the_place_and_the_value(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"SERINUS_{key.upper()}.*'{value}'"):
        load_settings(None, {f"SERINUS_{key.upper()}": value}, {})


def test_a_truth_value_is_not_a_number(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="threads"):
        load_settings(written(tmp_path, "threads = true"), {}, {})


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml can't be read"):
        load_settings(tmp_path / "absent.toml", {}, {})
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings(written(tmp_path, "port ="), {}, {})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("60s", 60), ("10m", 600), ("2h", 7200), ("1d", 86400), (1.5, 1.5), ("3", 3)],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16MiB", 16 * 2**20), ("512KB", 512_000), ("1gib", 2**30), (7, 7), ("1.5 MiB", 3 * 2**19)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@given(st.text())
def test_any_text_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) > 0
        except ValueError as refusal:
            assert "is not" in str(refusal)  # noqa: PT017 - both outcomes are right


def test_every_setting_can_be_set_by_its_variable_and_explains_itself() -> None:
    for row in settings():
        assert row.variables[0] == f"SERINUS_{row.name.upper()}"
        assert row.about
        assert row.about[0].islower() or row.about.startswith(("BLAS", "URL", "URI", "MLflow"))


def test_every_setting_is_in_the_quickstart() -> None:
    page = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text()
    for row in settings():
        assert f"| `{row.name}` |" in page
        assert row.about in page


def test_the_model_s_endpoint_gets_a_name_that_the_api_would_take() -> None:
    assert load_settings(None, {}, {"name": "line-2"}).name == "line-2"
    for bad in ("a b", "a/b", "databricks-x", "x" * 64):
        with pytest.raises(SettingsError, match="name: The endpoint name"):
            load_settings(None, {}, {"name": bad})
