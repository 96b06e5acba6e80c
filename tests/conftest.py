"""What every kind of test may ask for."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.postgres import Postgres

# The suite starts thousands of processes. Where nothing compiled is kept, each of them compiles all
# that it imports, which is a fifth of a server's start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

#: Tests with processes of their own, and with servers that a file's tests share.
_SHARING = ("tests/contract/", "tests/e2e/", "tests/integration/", "tests/test_docs.py")


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of one file on one worker where they share a server; deals out the others.

    xdist's own ``loadgroup`` does not: it marks a group in a place that pytest 9 reads no more.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", 1)[0] if nodeid.startswith(_SHARING) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    """The order below, instead of the files with the most tests first."""
    config.option.loadscopereorder = False
    return _ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What can be dealt out singly comes last: so no worker ends long before the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(_SHARING))


# Pretty tracebacks, structlog's default, cost half a second each.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL server; started by the first test that asks."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path):
    """Where a store may be kept: each test that asks runs once with each kind of database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'serinus.db'}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.database()
        yield url
        postgres.drop(url)
