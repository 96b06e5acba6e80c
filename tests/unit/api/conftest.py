import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
import pytest

from serinus.api.app import create_app
from serinus.store.repository import Store
from tests.unit.api.rolling import Rolling
from tests.unit.api.shaped import check_shape

PATH = "/api/2.0/serving-endpoints"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Api:
    """The app, called in-process without a server."""

    app: Any
    store: Store
    #: What the app was told to do elsewhere.
    woken: list[None] = field(default_factory=list)
    replica_logs: Callable[[str, str], str] = lambda endpoint_id, served: f"{endpoint_id} {served}"

    def __call__(self, method: str, path: str = "", body: Any = None, **kwargs: Any):
        """One request; a path without a leading slash is below the serving endpoints."""
        if body is not None:
            kwargs["content"] = body if isinstance(body, bytes) else json.dumps(body)
            kwargs.setdefault("headers", {"content-type": "application/json"})
        path = path if path.startswith("/") else f"{PATH}/{path}" if path else PATH

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://me:8080") as client:
                return await client.request(method, path, **kwargs)

        answer = asyncio.run(send())
        check_shape(self.app, answer)
        return answer

    def create(self, name: str = "fraud", **config: Any) -> dict[str, Any]:
        config = config or {"served_entities": [{"entity_name": "a.fraud", "entity_version": "1"}]}
        reply = self("POST", "", {"name": name, "config": config})
        assert reply.status_code == 200, reply.text
        made: dict[str, Any] = reply.json()
        return made

    def activate(self, name: str = "fraud") -> None:
        endpoint = self.store.endpoint(name)
        assert endpoint.pending is not None
        assert self.store.activate(endpoint.id, endpoint.pending.version, AT)


@pytest.fixture
def api(store_url: str):
    ids = count(1)
    with closing(Store.open(store_url)) as store:
        api = Api(None, store)
        api.app = create_app(
            store,
            wake=lambda: api.woken.append(None),
            replica_logs=lambda endpoint_id, served: api.replica_logs(endpoint_id, served),
            clock=lambda: AT,
            new_id=lambda: f"{next(ids):032x}",
            workspace_id="4711",
        )
        yield api


@pytest.fixture
def rolling(store_url: str):
    rolling = Rolling(store_url)
    yield rolling
    rolling.world.close()
