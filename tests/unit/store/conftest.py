from datetime import UTC, datetime, timedelta

import pytest

from serinus.entities import (
    ConfigUpdate,
    Deployment,
    Endpoint,
    EndpointConfig,
    EnvironmentRef,
    ModelRef,
    Optimize,
    Reading,
    ServedEntity,
)
from serinus.store.repository import Store

AT = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)


@pytest.fixture
def at():
    return AT


@pytest.fixture
def later():
    return LATER


@pytest.fixture
def url(store_url: str) -> str:
    return store_url


@pytest.fixture
def store(url: str):
    store = Store.open(url)
    yield store
    store.close()


@pytest.fixture
def make_config():
    """A config of two versions of one model, everything set that can be set."""

    def make(version: int = 1) -> EndpointConfig:
        entities = tuple(
            ServedEntity(
                name=f"fraud-{number}",
                entity_name="main.ml.fraud",
                entity_version=str(number),
                replicas=number,
                environment_vars={"KEY": "{{secrets/a/b}}", "PLAIN": "ü"},
                echo={"workload_size": "Small", "scale_to_zero_enabled": False},
                model=ModelRef("d" * 64, "models:/fraud/1", "models:/fraud/1", ("a==1",), "3.11.7"),
                environment=EnvironmentRef("e" * 64, "/usr/bin/python3", "built"),
                deployment=Deployment.CREATING,
                deployment_message="Creating",
                build_log="resolved 3 packages\n",
                creator="ann",
                created_at=AT,
                intake=Reading.MLFLOW if number == 2 else Reading.STRICT,
                optimize=Optimize.ONNX if number == 1 else Optimize.NONE,
                form="direct" if number == 1 else "",
                form_reason="because",
            )
            for number in (2, 1)
        )
        return EndpointConfig(
            version, entities, {"fraud-2": 1_234, "fraud-1": 8_766}, AT, {"enabled": True}
        )

    return make


@pytest.fixture
def make_endpoint(make_config):
    def make(name: str = "fraud", id_: str = "") -> Endpoint:
        return Endpoint(
            id=id_ or f"id-{name}",
            name=name,
            creator="ann",
            created_at=AT,
            updated_at=AT,
            pending=make_config(1),
            update=ConfigUpdate.IN_PROGRESS,
            description="who is it",
            tags={"team": "risk"},
        )

    return make
