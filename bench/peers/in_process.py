"""`python -m bench.peers.in_process MODEL BARE REQUESTS`: the model without any server around it.

Each request's JSON is read, all go into one frame and one call, each gets its JSON. What one core
reaches so is the limit of every server that calls the same model.
"""

import json
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

__all__ = ["SIZES", "per_second"]

SIZES = (1, 8, 32, 64, 128, 256)
_SECONDS = 0.25


def per_second(predict: Callable[[Any], Any], bodies: list[bytes], size: int) -> float:
    """Requests per second at that many requests a call."""
    batch = [bodies[number % len(bodies)] for number in range(size)]
    _once(predict, batch)
    calls, begin = 0, time.perf_counter()
    while (took := time.perf_counter() - begin) < _SECONDS:
        _once(predict, batch)
        calls += 1
    return calls * size / took


def _once(predict: Callable[[Any], Any], batch: list[bytes]) -> list[bytes]:
    splits = [orjson.loads(body)["dataframe_split"] for body in batch]
    rows = [row for split in splits for row in split["data"]]
    found = predict(pd.DataFrame(rows, columns=splits[0]["columns"]))
    values = found.to_dict("records") if isinstance(found, pd.DataFrame) else list(found)
    return [
        orjson.dumps({"predictions": [value]}, option=orjson.OPT_SERIALIZE_NUMPY)
        for value in values
    ]


def main() -> None:
    """Both forms of the model at each size, as JSON on stdout."""
    import mlflow.pyfunc  # takes seconds, and only this process needs it

    bare = pickle.loads(Path(sys.argv[2]).read_bytes())  # noqa: S301 - written by us
    forms = {"mlflow": mlflow.pyfunc.load_model(sys.argv[1]).predict, "bare": bare.predict}
    bodies = [body.encode() for body in json.loads(Path(sys.argv[3]).read_text())["bodies"]]
    found = {
        form: {str(size): per_second(predict, bodies, size) for size in SIZES}
        for form, predict in forms.items()
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
