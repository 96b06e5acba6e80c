"""The control API over a whole controller without processes: what is wished for comes true."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from serinus.api.app import create_app
from serinus.api.unstored import Standing
from serinus.store.acts import Act
from serinus.store.rollouts import Wish
from tests.unit.api.shaped import check_shape
from tests.unit.controller.world import World

OURS = "/api/serinus/v1/endpoints"
THEIRS = "/api/2.0/serving-endpoints"

#: Goes by time alone: five seconds a step.
BRISK: dict[str, Any] = {"guardrails": [], "step": {"min_duration": "5s", "warmup": "0s"}}


class Rolling:
    """An endpoint ``e`` that serves ``models:/m/1``, the API, and a controller that hears it."""

    def __init__(self, where: Path | str) -> None:
        self.world = World(where)
        self.store = self.world.store
        self.deaf = False
        ids = count(1)
        self.app = create_app(
            self.store,
            wake=self._wake,
            replica_logs=lambda endpoint_id, served: "",
            clock=lambda: self.world.at,
            new_id=lambda: f"{next(ids):032x}",
            workspace_id="4711",
            patience_s=0.2,
            way_back=self._carried_out,
        )
        self.world.serve()

    def _wake(self) -> None:
        if not self.deaf:
            self.world.turn(3)

    def _carried_out(self, wish: Wish, act: Act | None) -> Standing:
        retreats = self.world.loop.retreats
        retreats.ask(wish, act)
        self._wake()
        if retreats.in_force(wish.rollout_id):
            return Standing.IN_FORCE
        return Standing.ASKED if retreats.waits(wish.rollout_id) else Standing.STORED

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request; a path without a leading slash is below ``e`` in our own calls."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content:
            sent["content-type"] = "application/json"
        path = path if path.startswith("/") else f"{OURS}/e/{path}"

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://me:8080") as client:
                return await client.request(method, path, content=content, headers=sent)

        answer = asyncio.run(send())
        check_shape(self.app, answer)
        return answer

    def good(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """The answer to a request that must succeed."""
        reply = self(method, path, body, **headers)
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """Status, code and sentence of a request that must fail."""
        reply = self(method, path, body)
        assert reply.status_code >= 400, reply.text
        error = reply.json()
        assert set(error) == {"error_code", "message", "details"}
        return reply.status_code, error["error_code"], error["message"]

    def start(self, number: int = 2, **spec: Any) -> dict[str, Any]:
        """A rollout of ``models:/m/<number>``."""
        asked = {"candidate": f"models:/m/{number}", **BRISK, **spec}
        return self.good("POST", "rollouts", asked)

    def now(self) -> dict[str, Any]:
        """The newest rollout."""
        return self.good("GET", "rollouts/current")

    def until(self, phase: str) -> dict[str, Any]:
        """Let time pass until the newest rollout is in that phase."""
        self.world.until(lambda: self.now()["phase"] == phase)
        return self.now()

    def endpoint(self) -> dict[str, Any]:
        """The endpoint as clients of the original service see it."""
        return self.good("GET", f"{THEIRS}/e")

    def split(self) -> dict[str, int]:
        """Served name → percent, as the endpoint's config shows it."""
        routes = self.endpoint()["config"]["traffic_config"]["routes"]
        return {each["served_entity_name"]: each["traffic_percentage"] for each in routes}

    def update(self, *served: tuple[str, int], **headers: str) -> httpx.Response:
        """The whole config anew: versions of ``m`` and their percentages."""
        entities = [{"entity_name": "m", "entity_version": version} for version, _ in served]
        routes = [
            {"served_entity_name": f"m-{version}", "traffic_percentage": percent}
            for version, percent in served
        ]
        config = {"served_entities": entities, "traffic_config": {"routes": routes}}
        return self("PUT", f"{THEIRS}/e/config", config, **headers)
