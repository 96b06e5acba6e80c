"""Ray Serve: one deployment, one replica, plain (argv: port plain) or batched (port batched)."""

import sys
from typing import Any

import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from bench.peers.services.served import BATCH, WINDOW_S, load, predict, predict_many

#: So many requests may wait in a replica: more than any load here has.
_ONGOING = 1024


@serve.deployment(max_ongoing_requests=_ONGOING, ray_actor_options={"num_cpus": 1})
class Plain:
    def __init__(self) -> None:
        self.model = load()

    async def __call__(self, request: Request) -> Response:
        payload = orjson.loads(await request.body())
        answer = {"predictions": predict(self.model, payload["dataframe_split"])}
        return Response(orjson.dumps(answer), media_type="application/json")


@serve.deployment(max_ongoing_requests=_ONGOING, ray_actor_options={"num_cpus": 1})
class Batched:
    def __init__(self) -> None:
        self.model = load()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WINDOW_S)
    async def many(self, splits: list[dict[str, Any]]) -> list[Any]:
        return predict_many(self.model, splits)

    async def __call__(self, request: Request) -> Response:
        payload = orjson.loads(await request.body())
        answer = {"predictions": await self.many(payload["dataframe_split"])}
        return Response(orjson.dumps(answer), media_type="application/json")


def main() -> None:
    """Serve until told to end."""
    port, kind = int(sys.argv[1]), sys.argv[2]
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 60})
    app = (Batched if kind == "batched" else Plain).bind()
    serve.run(app, route_prefix="/invocations", blocking=True)


if __name__ == "__main__":
    main()
