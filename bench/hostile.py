"""`python -m bench.hostile`: what hostile callers and models cost the others, at full size.

Tests 29, 31 and 45 of the reliability list on a running server: thousands of callers whose headers
never end, as many idle connections as may be, and a model beside that burns processor, memory and
disk. Each is a ratio of the 99th percentile, with and without, in interleaved rounds of one run.
Exit code 0 when all of it was measured and nobody else was refused, whatever the targets say.
"""

import argparse
import contextlib
import json
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.answers import Payload, http_request
from bench.hostile_model import save
from bench.load import Job, measure
from bench.machine import describe, noise_ms
from bench.models import prepare
from bench.processes import ProcessTree, ask
from bench.servers import payloads, serving

_RESULTS = Path(__file__).resolve().parent / "results" / "hostile.json"
#: Requests a second of those whose time is taken: far below what the server can do.
_RATE = 200.0
_HEADER_DEADLINE_S = 10.0
#: Files of this process that are no connections.
_OTHER_FILES = 200
_KIB = 1024

Round = Callable[[], contextlib.AbstractContextManager[None]]


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--rounds", type=int, default=3, help="of each, with and without")
    parser.add_argument("--seconds", type=float, default=6.0, help="of one half of a round")
    parser.add_argument("--slow", type=int, default=5000, help="callers whose headers never end")
    parser.add_argument("--idle", type=int, default=9000, help="connections that only wait")
    asked = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    slow, idle = (min(each, files - _OTHER_FILES) for each in (asked.slow, asked.idle))
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        model = prepare("M1", work)
        with serving(model, work, {"SERINUS_ENVIRONMENTS": "current"}) as tree:
            _create_wild(tree.port, save(work / "wild"))
            job = Job(
                "127.0.0.1", tree.port, payloads(model), 16, asked.seconds, warmup=0.5, rate=_RATE
            )
            crowd = _Crowd(tree)
            found = {
                # The first of all: later crowds take what earlier ones left.
                "idle_kib_each": crowd.kib_each(idle, job.payloads[0]),
                "slow_headers": slow,
                "slow_headers_p99": _compared(job, asked.rounds, lambda: crowd.of(slow, b"GET /")),
                "slow_headers_closed_s": crowd.closed_s(slow),
                "idle": idle,
                "idle_p99": _compared(job, asked.rounds, lambda: crowd.of(idle, b"")),
                "wild_model_p99": _compared(job, asked.rounds, lambda: _wild(tree)),
            }
    noise.append(noise_ms())
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        "target": "p99 at most 1.2 times; slow headers closed within 10 s",
        **found,
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    return 1 if any(each["failed"] for each in found.values() if isinstance(each, dict)) else 0


def _compared(job: Job, rounds: int, hostile: Round) -> dict[str, Any]:
    """The job without and with it, in turn."""
    without, with_it = [], []
    for _ in range(rounds):
        without.append(measure(job))
        with hostile():
            with_it.append(measure(job))
    ratios = [more.p99_ms / less.p99_ms for less, more in zip(without, with_it, strict=True)]
    return {
        "without_ms": [round(each.p99_ms, 2) for each in without],
        "with_ms": [round(each.p99_ms, 2) for each in with_it],
        "ratio": round(statistics.median(ratios), 2),
        "failed": sum(each.failed for each in (*without, *with_it)),
    }


class _Crowd:
    """Many connections to one server from this process."""

    def __init__(self, tree: ProcessTree) -> None:
        self._tree = tree

    @contextlib.contextmanager
    def of(self, count: int, sent: bytes) -> Iterator[None]:
        """So many that have sent this and no more; whoever is cut off comes again."""
        over = threading.Event()
        sockets = self._dialled(count, sent)
        keeper = threading.Thread(target=self._keep, args=(sockets, sent, over))
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()
            for each in sockets:
                each.close()

    def closed_s(self, count: int) -> float:
        """Seconds until the last of so many unfinished heads was cut off."""
        sockets = self._dialled(count, b"GET /")
        began = time.monotonic()
        for each in sockets:
            each.settimeout(60)
            with contextlib.suppress(ConnectionError):
                while each.recv(4096):
                    continue
            each.close()
        return round(time.monotonic() - began, 1)

    def kib_each(self, count: int, payload: Payload) -> float:
        """Memory of the server for one connection that has sent nothing."""
        before = sum(each.pss for each in self._tree.memory())
        sockets = self._dialled(count, b"")
        ask(self._tree.port, payload)  # it comes after them: they have all been taken up
        after = sum(each.pss for each in self._tree.memory())
        for each in sockets:
            each.close()
        return round((after - before) * _KIB / count, 1)

    def _dialled(self, count: int, sent: bytes) -> list[socket.socket]:
        return [self._dial(sent) for _ in range(count)]

    def _dial(self, sent: bytes) -> socket.socket:
        dialled = socket.create_connection(("127.0.0.1", self._tree.port), 30)
        dialled.sendall(sent)
        return dialled

    def _keep(self, sockets: list[socket.socket], sent: bytes, over: threading.Event) -> None:
        began = time.monotonic()
        while not over.wait(0.2):
            if sent and time.monotonic() - began > _HEADER_DEADLINE_S:
                began = time.monotonic()
                for at, each in enumerate(sockets):
                    each.close()
                    sockets[at] = self._dial(sent)


@contextlib.contextmanager
def _wild(tree: ProcessTree) -> Iterator[None]:
    """A model beside that is asked to do harm again and again."""
    over = threading.Event()

    def provoke() -> None:
        number = 0
        while not over.is_set():
            how = ("burn", "print", "fill", "threads")[number % 4]
            number += 1
            body = json.dumps({"dataframe_records": [{"how": how}]}).encode()
            path = "/serving-endpoints/wild/invocations"
            payload = Payload(http_request("POST", path, "127.0.0.1", body), predictions=[])
            with contextlib.suppress(OSError):
                ask(tree.port, payload)

    thread = threading.Thread(target=provoke)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _create_wild(port: int, model: Path) -> None:
    config = {"served_entities": [{"name": "w", "entity_name": str(model)}]}
    body = json.dumps({"name": "wild", "config": config}).encode()
    path = "/api/2.0/serving-endpoints"
    status, said = ask(port, Payload(http_request("POST", path, "127.0.0.1", body), predictions=[]))
    if status != 200:
        raise RuntimeError(f"the wild model was refused: {said.decode()}")
    for _ in range(600):
        request = f"GET {path}/wild HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
        _, said = ask(port, Payload(request, predictions=[]))
        if json.loads(said)["state"]["config_update"] != "IN_PROGRESS":
            return
        time.sleep(0.2)
    raise RuntimeError("the wild model did not become ready")


if __name__ == "__main__":
    sys.exit(main())
