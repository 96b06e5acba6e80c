"""BentoML: one service with a plain and a batchable API. `bentoml serve` finds it by its name."""

from typing import Any

import bentoml

from bench.peers.services.served import BATCH, columns, load, predict


@bentoml.service(workers=1, traffic={"timeout": 60})
class Served:
    def __init__(self) -> None:
        self.model = load()
        self.columns = columns()

    @bentoml.api(route="/invocations")
    def invocations(self, dataframe_split: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": predict(self.model, dataframe_split)}

    # Its batches are lists: a request gives its rows, and gets as many answers.
    # No limit of latency below the load's own: BentoML answers 503 where it expects to exceed it.
    @bentoml.api(route="/batched", batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
    def batched(self, rows: list[Any]) -> list[Any]:
        return predict(self.model, {"columns": self.columns, "data": rows})
