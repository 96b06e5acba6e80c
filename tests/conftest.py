"""What every kind of test may ask for."""

from pathlib import Path

import pytest

from tests.postgres import Postgres

#: Tests with processes of their own: one after the other, while the rest runs beside them.
_ALONE = ("contract", "e2e", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that start servers on one worker: two cores bear one of them at a time."""
    here = Path(__file__).parent
    for item in items:
        first = item.path.relative_to(here).parts[0]
        if first in _ALONE or item.path.stem == "test_docs":
            group = "processes" if first in _ALONE else "docs"
            item.add_marker(pytest.mark.xdist_group(group))


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
