"""The handlers that somebody writes by hand around the same model: the baselines.

As good as their kind gets: no pydantic models, no logging per request. `BENCH_MODEL` names the
pickled sklearn pipeline.
"""

import json
import os
import pickle
from pathlib import Path
from typing import Annotated, Any

import orjson
import pandas as pd
from fastapi import Depends, FastAPI, Request, Response

__all__ = ["async_app", "sync_app"]

model = pickle.loads(Path(os.environ["BENCH_MODEL"]).read_bytes())  # noqa: S301 - written by us

sync_app = FastAPI()
async_app = FastAPI()


async def _body(request: Request) -> Any:
    return json.loads(await request.body())


def _predict(payload: Any) -> list[Any]:
    split = payload["dataframe_split"]
    frame = pd.DataFrame(split["data"], columns=split["columns"])
    predictions: list[Any] = model.predict(frame).tolist()
    return predictions


@sync_app.post("/invocations")
def invocations(payload: Annotated[Any, Depends(_body)]) -> Response:
    """The usual one: a sync handler in the thread pool."""
    answer = json.dumps({"predictions": _predict(payload)})
    return Response(answer, media_type="application/json")


@async_app.post("/invocations")
async def invocations_async(request: Request) -> Response:
    """The better one: on the event loop, no thread, orjson both ways."""
    payload = orjson.loads(await request.body())
    return Response(orjson.dumps({"predictions": _predict(payload)}), media_type="application/json")
