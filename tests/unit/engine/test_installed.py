"""The comparison of a model's requirements with what is installed."""

import platform
from importlib.metadata import version

import pytest

from serinus.engine.installed import current_environment, differences
from serinus.entities import ModelRef

HERE = platform.python_version()


def model(*lines: str, python: str = HERE) -> ModelRef:
    return ModelRef("d", "u", "u", lines, python)


@pytest.mark.parametrize(
    "line",
    [
        f"msgspec=={version('msgspec')}",
        "PyYAML",
        "typing_extensions>=1",
        "uvicorn[standard]; python_version < '3'",
        "no-such-package==1; sys_platform == 'none'",
        "--constraint no-such-package<2",
        f"packaging=={version('packaging')}",
    ],
)
def test_what_is_installed_satisfies(line):
    assert differences(model(line)) == ()


@pytest.mark.parametrize(
    ("line", "name", "have"),
    [
        ("msgspec==0.0.1", "msgspec", version("msgspec")),
        ("no-such-package==1.0", "no-such-package", ""),
        ("--constraint msgspec<0.1", "msgspec", version("msgspec")),
        ("msgspec @ https://example.org/msgspec.whl", "msgspec", version("msgspec")),
        ("git+https://example.org/repo.git", "git+https://example.org/repo.git", ""),
        ("-r elsewhere.txt", "-r elsewhere.txt", ""),
        ("six==1.16.0 --hash=sha256:00", "six==1.16.0 --hash=sha256:00", ""),
    ],
)
def test_what_differs_is_named(line, name, have):
    found = differences(model(line))
    assert [(each.name, each.have) for each in found] == [(name, have)]
    assert name in str(found[0])


def test_another_python_differs_but_another_patch_does_not():
    assert [each.name for each in differences(model(python="3.10.4"))] == ["python"]
    minor = ".".join(HERE.split(".")[:2])
    assert differences(model(python=f"{minor}.999")) == ()


def test_an_extra_that_is_not_installed_differs():
    found = differences(model("sqlalchemy[oracle]"))
    assert [each.name for each in found] == ["oracledb"]


def test_the_current_environment_is_described_by_what_is_in_it():
    first, second = current_environment(), current_environment()
    assert first == second
    assert first.kind == "current"
