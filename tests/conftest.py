"""What every kind of test may ask for."""

from pathlib import Path

import pytest
import structlog

from tests.postgres import Postgres

#: Tests with processes of their own, and with servers that a file's tests share.
_PROCESSES = ("contract", "e2e", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one file on one worker where they share a server."""
    here = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(here)
        if path.parts[0] in _PROCESSES or path.stem == "test_docs":
            item.add_marker(pytest.mark.xdist_group(path.as_posix()))


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
