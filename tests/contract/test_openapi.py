"""Schemathesis over the own OpenAPI document: whatever fits it is answered, and as it says.

No answer is a 5xx but for what is refused by name; status, content type and shape are as promised.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import schemathesis
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serinus.api.app import create_app
from serinus.entities import WHOLE, Endpoint, EndpointConfig, ServedEntity
from serinus.evidence.meter import Meter, Vitals
from serinus.store.repository import Store

DOCUMENT = "/api/serinus/v1/openapi.json"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Never ends by itself.
STREAM = "/api/serinus/v1/endpoints/{name}/events"
#: More of them find more: SERINUS_EXAMPLES=200.
MOST = int(os.environ.get("SERINUS_EXAMPLES", "4"))
#: Ways to name what is there, so that a call does more than miss.
THERE: dict[str, list[Any]] = {
    "name": ["e", "e", "none"],
    "served": ["m-1", "none"],
    "endpoint_id": ["id", "none"],
    "rollout_id": ["current", "none"],
    "version": [1, 9],
}


def no_fault_of_ours(_: Any, response: Any, __: Any) -> None:
    """What is out of scope is refused by name with 501; no other 5xx may ever come."""
    if response.status_code >= 500:
        named = response.json()["error_code"] == "NOT_IMPLEMENTED"
        assert (response.status_code, named) == (501, True), response.text


CHECKS = [
    no_fault_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = hypothesis.settings(
    max_examples=MOST,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def _endpoint() -> Endpoint:
    entity = ServedEntity("m-1", "m", "1", creator="me", created_at=AT)
    config = EndpointConfig(1, (entity,), {"m-1": WHOLE}, AT)
    return Endpoint("id", "e", "me", AT, AT, active=config)


class Around:
    """The app as its owner calls it, with an endpoint that is always there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        ids = count(1)
        self._app = create_app(
            store,
            wake=lambda: None,
            replica_logs=lambda endpoint_id, served: "",
            clock=lambda: AT,
            new_id=lambda: f"{next(ids):032x}",
            workspace_id="1",
            patience_s=0.05,
            vitals=lambda endpoint: Vitals(Meter(endpoint.name, ""), 1, 1.0, 1.0),
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.refresh()
            owner = (b"x-serinus-caller", b"owner")
            scope = {**scope, "headers": [*scope["headers"], owner]}
        await self._app(scope, receive, send)

    def refresh(self) -> None:
        """Put back what a call before has deleted."""
        for gone in self._store.endpoints(include_deleted=True):
            if gone.deleted:
                self._store.purge(gone.id)
        if not any(each.name == "e" for each in self._store.endpoints()):
            for each in self._store.endpoints():
                self._store.delete_endpoint(each.name, AT)
                self._store.purge(each.id)
            self._store.create_endpoint(_endpoint())


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("openapi") / "serinus.db"
    with closing(Store.open(f"sqlite:///{path}")) as store:
        yield schemathesis.openapi.from_asgi(DOCUMENT, Around(store)).exclude(path=STREAM)


def test_every_answer_is_one_that_the_document_promises(document: Any) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 50
    wrong: list[str] = []
    for operation in operations:
        try:
            _ask(operation)
        except FailureGroup as error:
            wrong.append(f"{operation.label}\n{_told(error)}")
    assert not wrong, "\n\n".join(wrong)


def _ask(operation: Any) -> None:
    """Send what fits the operation, and look at every answer."""

    @EXAMPLES
    @hypothesis.given(case=operation.as_strategy(), data=st.data())
    def send(case: Any, data: Any) -> None:
        for name in case.path_parameters or ():
            if name in THERE:
                case.path_parameters[name] = data.draw(st.sampled_from(THERE[name]))
        case.call_and_validate(checks=CHECKS)

    send()


def _told(error: BaseException) -> str:
    failures = getattr(error, "exceptions", (error,))
    return "\n".join(f"{each}"[:600] for each in failures)
