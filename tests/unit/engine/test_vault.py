"""Secrets: where they lie, what may refer to them, and that their values stay out of errors."""

import stat
from pathlib import Path

import pytest

from serinus.engine.vault import Vault
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "secrets")


def test_a_reference_becomes_the_value_and_everything_else_stays(
    vault: Vault, tmp_path: Path
) -> None:
    vault.put("shop", "api-key", "sés ame\n\n")
    vault.put("shop", "api-key", "sesame")
    variables = {"A": "{{secrets/shop/api-key}}", "B": "{{ secrets/shop/api-key }}", "C": "{{x}}"}
    assert vault.resolved(variables) == {"A": "sesame", "B": "sesame", "C": "{{x}}"}
    assert variables["A"] == "{{secrets/shop/api-key}}"
    directory = tmp_path / "secrets"
    for each in (directory, directory / "shop"):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "shop" / "api-key").stat().st_mode) == 0o600
    assert [each.name for each in (directory / "shop").iterdir()] == ["api-key"]


def test_files_that_somebody_else_put_there_are_read_too(vault: Vault, tmp_path: Path) -> None:
    mounted = tmp_path / "secrets" / "shop"
    (mounted / "..data").mkdir(parents=True)
    (mounted / "..data" / "token").write_text("sesame\n")
    (mounted / "..data" / "token").chmod(0o440)
    (mounted / "token").symlink_to("..data/token")
    assert vault.resolved({"A": "{{secrets/shop/token}}"}) == {"A": "sesame"}
    assert [(each.scope, each.key) for each in vault.all()] == [("shop", "token")]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{{secrets/shop/nope}}", "secret shop/nope, which this server does not have"),
        ("{{secrets/nope/key}}", "serinus secret put nope key"),
        ("{{secrets/../key}}", "does not have"),
        ("{{secrets/shop/..}}", "does not have"),
        ("{{secrets/shop/key/x}}", "can't be read"),
        ("{{secrets/shop}}", "can't be read"),
        ("Bearer {{secrets/shop/key}}", "nothing else"),
        ("{{secrets/shop/key}}{{secrets/shop/key}}", "nothing else"),
        ("{{secrets/shop/open}}", "chmod 600 shop/open"),
        ("{{secrets/shop/empty}}", "is empty"),
        ("{{secrets/shop/dir}}", "does not have"),
    ],
)
def test_what_can_not_be_had_is_named_and_no_value_is(
    vault: Vault, tmp_path: Path, value: str, why: str
) -> None:
    vault.put("shop", "key", "sesame")
    vault.put("shop", "open", "sesame")
    (tmp_path / "secrets" / "shop" / "open").chmod(0o604)
    (tmp_path / "secrets" / "shop" / "empty").touch(mode=0o600)
    (tmp_path / "secrets" / "shop" / "dir").mkdir()
    (tmp_path / "key").write_text("sesame")
    with pytest.raises(InvalidParameterValue, match=why) as refused:
        vault.resolved({"TOKEN": value})
    assert "TOKEN" in refused.value.message
    assert "sesame" not in refused.value.message


def test_what_is_deleted_is_gone(vault: Vault) -> None:
    vault.put("shop", "key", "sesame")
    vault.delete("shop", "key")
    assert vault.all() == []
    with pytest.raises(ResourceDoesNotExist, match="shop/key"):
        vault.delete("shop", "key")


@pytest.mark.parametrize(
    ("scope", "key", "value"),
    [
        ("..", "key", "x"),
        ("a/b", "key", "x"),
        ("a", ".key", "x"),
        ("a", "", "x"),
        ("a", "key", ""),
        ("a", "key", "x\0"),
        ("a", "key", "x" * 70_000),
    ],
)
def test_nothing_is_put_where_or_what_it_must_not_be(
    vault: Vault, tmp_path: Path, scope: str, key: str, value: str
) -> None:
    with pytest.raises(InvalidParameterValue):
        vault.put(scope, key, value)
    assert not (tmp_path / "secrets").exists()
