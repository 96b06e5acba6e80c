"""`python -m bench.fleet`: several replicas, the pace of a slow model, answers given again.

Everything is a ratio of two ways in turns within one run: one replica and two of a model that
computes; batches of whatever has queued and batches of what fits, for a model of 20 ms a row beside
a fast one; a cache's hits and its misses. And what a choice of route and replica costs. Exit code 0
when all of it was measured, whatever came out.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
from rich.console import Console
from rich.table import Table

from bench.answers import Payload, http_request
from bench.latency import LoadResult
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import MODELS, BenchModel, Maker, bodies_of, pinned, prepare
from bench.processes import ProcessTree, free_port, limited_environment
from serinus.entities import WHOLE
from serinus.gateway.pool import LinkState, Pool, ReplicaLink
from serinus.traffic import ReplicaAddress, ServedRoute, Split

_RESULTS = Path(__file__).resolve().parent / "results" / "fleet.json"
_SERINUS = str(Path(sys.executable).with_name("serinus"))
#: Milliseconds a row.
_SLOW_MS, _BUSY_MS = 20.0, 2.0
_BURST = 32

Pair = tuple[float, float]


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--full", action="store_true", help="15 rounds of 6 seconds")
    asked = parser.parse_args()
    rounds, seconds = (15, 6.0) if asked.full else (asked.rounds, asked.seconds)
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    found: dict[str, Any] = {"choice_us": _choices()}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        work = Path(directory)
        models = {name: prepare(name, work, _MAKERS) for name in _MAKERS}
        paced = stack.enter_context(_serving(work / "paced", models))
        all_at_once = stack.enter_context(_serving(work / "all", models, SERINUS_BATCH_TIME="1h"))
        found["replicas"] = _replicas(paced, models["BUSY"], rounds, seconds)
        found["cache"] = _cache(paced, models["M1"], rounds, seconds)
        found["pace"] = _pace(paced, all_at_once, models, rounds, seconds)
    noise.append(noise_ms())
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        "rounds": rounds,
        "seconds": seconds,
        **found,
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(found, Console() if Console().is_terminal else Console(width=120))
    return 0


# --- the models


def _rows_of(answer: Callable[[Any], Any]) -> Maker:
    """A pyfunc of two numbers a row; ``answer`` is sent with it."""

    def make(path: Path) -> tuple[list[str], list[Any]]:
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import infer_signature

        class Answering(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            # No type hints: MLflow would read a schema out of them.
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                return answer(model_input)

        frame = pd.DataFrame({"x": [float(at) for at in range(16)], "y": [1.0] * 16})
        mlflow.pyfunc.save_model(
            str(path),
            python_model=Answering(),
            signature=infer_signature(frame, [0.5]),
            input_example=frame.head(3),
            pip_requirements=pinned("mlflow", "cloudpickle", "numpy", "pandas"),
        )
        return bodies_of(frame), [[0.5]] * len(frame)

    return make


def _slow(ms: float) -> Callable[[Any], Any]:
    def answer(rows: Any) -> Any:
        import time

        time.sleep(ms / 1000 * len(rows))
        return [0.5] * len(rows)

    return answer


def _busy(ms: float) -> Callable[[Any], Any]:
    def answer(rows: Any) -> Any:
        import time

        until = time.thread_time() + ms / 1000 * len(rows)
        while time.thread_time() < until:
            sum(range(500))
        return [0.5] * len(rows)

    return answer


_MAKERS: dict[str, Maker] = {
    "M0": MODELS["M0"],
    "M1": MODELS["M1"],
    "M4": _rows_of(_slow(_SLOW_MS)),
    "BUSY": _rows_of(_busy(_BUSY_MS)),
}

# --- the servers


@contextmanager
def _serving(work: Path, models: dict[str, BenchModel], **settings: str) -> Iterator[ProcessTree]:
    """A server with every endpoint that is measured."""
    work.mkdir()
    port = free_port()
    extra = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{work}/mlflow.db",
        "PATH": os.environ["PATH"],
        **settings,
    }
    serve = [_SERINUS, "serve", "--port", str(port), "--home", str(work / "home")]
    tree = ProcessTree(
        [*serve, "--model", str(models["M0"].path), "--name", "fast"],
        env=limited_environment(extra),
        cwd=work,
        log=work / "output.log",
        port=port,
    )
    try:
        tree.wait_ready(_payloads(models["M0"], "fast")[0], 120.0)
        _create(tree, models["M4"], "slow")
        if not settings:
            _create(tree, models["BUSY"], "one")
            _create(tree, models["BUSY"], "two", replicas=2)
            _create(tree, models["M1"], "asked")
            _create(tree, models["M1"], "given", cache="10m")
        yield tree
    finally:
        tree.stop()


def _create(
    tree: ProcessTree, model: BenchModel, name: str, *, replicas: int = 1, cache: str = ""
) -> None:
    served = {"name": "v1", "entity_name": str(model.path), "replicas": replicas}
    with httpx.Client(base_url=f"http://127.0.0.1:{tree.port}", timeout=60.0) as http:
        config = {"name": name, "config": {"served_entities": [served]}}
        http.post("/api/2.0/serving-endpoints", json=config).raise_for_status()
        if cache:
            policy = f"/api/serinus/v1/endpoints/{name}/policy"
            http.put(policy, json={"cache": {"ttl": cache}}).raise_for_status()
        shown: dict[str, Any] = {}
        until = time.monotonic() + 120.0
        while time.monotonic() < until:
            shown = http.get(f"/api/2.0/serving-endpoints/{name}").json()
            if shown["state"]["config_update"] != "IN_PROGRESS":
                break
            time.sleep(0.1)
        if shown["state"]["ready"] != "READY":
            raise RuntimeError(f"'{name}' did not become ready: {json.dumps(shown['state'])}")


def _payloads(model: BenchModel, endpoint: str) -> list[Payload]:
    path = f"/serving-endpoints/{endpoint}/invocations"
    return [
        Payload(http_request("POST", path, "127.0.0.1", body), predictions=answer)
        for body, answer in zip(model.bodies, model.answers, strict=True)
    ]


def _job(tree: ProcessTree, model: BenchModel, endpoint: str, seconds: float) -> Job:
    return Job("127.0.0.1", tree.port, _payloads(model, endpoint), 16, seconds)


def _right(result: LoadResult) -> LoadResult:
    if result.wrong or result.errors:
        raise RuntimeError(f"answers were missing or wrong: {result.wrong}, {result.errors}")
    return result


def _in_turns(rounds: int, one: Callable[[], float], other: Callable[[], float]) -> list[Pair]:
    """Each by turns, the first one changing."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second = other()
            pairs.append((one(), second))
        else:
            pairs.append((one(), other()))
    return pairs


def _compared(pairs: list[Pair], names: tuple[str, str]) -> dict[str, float]:
    medians = [statistics.median(each) for each in zip(*pairs, strict=True)]
    ratio = statistics.median(other / own for own, other in pairs)
    return {
        names[0]: round(medians[0], 2),
        names[1]: round(medians[1], 2),
        "ratio": round(ratio, 3),
    }


# --- what is measured


def _replicas(
    tree: ProcessTree, model: BenchModel, rounds: int, seconds: float
) -> dict[str, float]:
    return _endpoints(tree, model, ("one", "two"), rounds, seconds)


def _cache(tree: ProcessTree, model: BenchModel, rounds: int, seconds: float) -> dict[str, float]:
    return _endpoints(tree, model, ("asked", "given"), rounds, seconds)


def _endpoints(
    tree: ProcessTree, model: BenchModel, names: tuple[str, str], rounds: int, seconds: float
) -> dict[str, float]:
    """Requests per second of two endpoints of one server."""

    def rps(endpoint: str) -> Callable[[], float]:
        return lambda: _right(measure(_job(tree, model, endpoint, seconds))).rps

    one, other = names
    return _compared(_in_turns(rounds, rps(one), rps(other)), (f"{one}_rps", f"{other}_rps"))


def _pace(
    paced: ProcessTree,
    all_at_once: ProcessTree,
    models: dict[str, BenchModel],
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """A burst at the slow model, and a fast one beside the slow one when that is overrun."""
    slow, fast = models["M4"], models["M0"]

    def beside(tree: ProcessTree) -> Callable[[], float]:
        flood = replace(_job(tree, slow, "slow", seconds + 1.0), connections=_BURST, drain=60.0)
        calm = replace(_job(tree, fast, "fast", seconds), rate=50.0)

        def p99_ms() -> float:
            flooding = threading.Thread(target=measure, args=(flood,))
            flooding.start()
            found = _right(measure(calm)).p99_ms
            flooding.join()
            return found

        return p99_ms

    bursts = [(_burst(all_at_once, slow), _burst(paced, slow)) for _ in range(rounds)]
    silent, mean = ([(a[at], b[at]) for a, b in bursts] for at in (0, 1))
    names = ("all_at_once_ms", "paced_ms")
    return {
        "silence_in_burst": _compared(silent, names),
        "mean_of_burst": _compared(mean, names),
        "fast_p99": _compared(_in_turns(rounds, beside(all_at_once), beside(paced)), names),
    }


def _burst(tree: ProcessTree, model: BenchModel) -> Pair:
    """Of so many at once: the longest time without an answer, and the mean to one. Milliseconds."""
    request = _payloads(model, "slow")[0].request

    async def one(lines: list[Any]) -> list[float]:
        began = time.perf_counter()

        async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            return (time.perf_counter() - began) * 1000

        return await asyncio.gather(*(ask(*line) for line in lines))

    async def main() -> Pair:
        lines = [await asyncio.open_connection("127.0.0.1", tree.port) for _ in range(_BURST)]
        # One by itself first, as an idle model meets a burst: then all the others at once.
        await one(lines[:1])
        took = await one(lines[1:])
        for _, writer in lines:
            writer.close()
        answered = sorted(took)
        gaps = [late - early for early, late in zip([0.0, *answered], answered, strict=False)]
        return max(gaps), statistics.fmean(took)

    return asyncio.run(main())


class _Link:
    """As much of a link as a choice looks at."""

    def __init__(self, busy: int) -> None:
        self.calls = dict.fromkeys(range(busy))
        self.state = LinkState.READY
        self.picked = 0


def _choices() -> dict[str, float]:
    """Microseconds of one choice of served entity and replica, by the number of replicas."""
    found = {}
    split = Split({"a": WHOLE - 500, "b": 500})
    for replicas in (1, 2, 4, 8):
        addresses = tuple(ReplicaAddress(f"r{at}", "", "") for at in range(replicas))
        route = ServedRoute("a", WHOLE, addresses)
        links = cast(list[ReplicaLink], [_Link(at % 3) for at in range(replicas)])
        pools = {"a": Pool(route, links), "b": Pool(route, links)}

        def choose(pools: dict[str, Pool] = pools) -> ReplicaLink:
            return pools[split.choose(0.3)].pick()

        # CPU time, so that what else the machine does matters less.
        runs = timeit.repeat(choose, timer=time.thread_time, number=20_000, repeat=7)
        found[str(replicas)] = round(statistics.median(runs) / 20_000 * 1e6, 3)
    return found


def _show(found: dict[str, Any], console: Console) -> None:
    table = Table("what", "before", "with it", "ratio", title="fleet")
    rows = {
        "one replica → two, a model that computes, answers/s": found["replicas"],
        "asked → given again, answers/s": found["cache"],
        "longest silence in a burst at 20 ms a row, all at once → paced, ms": found["pace"][
            "silence_in_burst"
        ],
        "mean of that burst, ms": found["pace"]["mean_of_burst"],
        "p99 of a fast model beside it, ms": found["pace"]["fast_p99"],
    }
    for what, each in rows.items():
        table.add_row(what, *(str(value) for value in each.values()))
    console.print(table)
    shown = ", ".join(f"{us} µs of {replicas}" for replicas, us in found["choice_us"].items())
    console.print(f"a choice of version and replica: {shown}")


if __name__ == "__main__":
    sys.exit(main())
