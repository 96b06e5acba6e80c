"""The load generator: HTTP/1.1 keep-alive, closed or open loop, every answer checked.

Runs in its own process (`python -m bench.load`, a job on stdin, the result on stdout), so that it
never shares an event loop with what it measures. It imports nothing heavy.
"""

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from array import array
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from bench.answers import AnswerCheck, Payload
from bench.latency import LoadResult, intended_time, summarise
from bench.responses import MalformedResponse, Response, ResponseReader

__all__ = ["Job", "Run", "measure", "run_job"]

_clock = time.perf_counter
#: Shortest sleep of the pacing thread: finer is not measurable and would burn a core.
_PACE_S = 0.0002
#: A server that takes no connections for this long can't be measured.
_CONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to send where. `rate` 0 is a closed loop: each connection sends when it was answered."""

    host: str
    port: int
    payloads: list[Payload]
    connections: int
    seconds: float
    warmup: float = 0.5
    rate: float = 0.0
    #: How long after the window outstanding answers are waited for.
    drain: float = 20.0

    def to_json(self) -> dict[str, Any]:
        """For the generator's own process."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"payloads": [payload.to_json() for payload in self.payloads]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Job":
        """The inverse of `to_json`."""
        payloads = [Payload.from_json(item) for item in data["payloads"]]
        return cls(**(data | {"payloads": payloads}))


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("_reader", "_run", "busy", "number", "since", "transport")

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._reader = ResponseReader()
        self.transport: Any = None
        self.busy = False
        self.number = 0
        self.since = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._run.free(self)

    def send(self, number: int, request: bytes, since: float) -> None:
        self.busy = True
        self.number = number
        self.since = since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            response = self._reader.feed(data)
        except MalformedResponse:
            self._run.fail("malformed", self)
            self.transport.abort()
            return
        if response is not None:
            self._run.answered(self, response)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self._run.fail("cut" if self._reader.partial else "reset", self)
        self._run.lost(self)


class Run:
    """One run of a job on one event loop."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._check = AnswerCheck(job.payloads)
        self._requests = [payload.request for payload in job.payloads]
        self._result = LoadResult(job.connections, job.rate, job.seconds)
        self._latencies = array("d")
        self._late = array("d")
        self._refused = array("d")
        self._idle: deque[_Connection] = deque()
        self._live: set[_Connection] = set()
        self._backlog: deque[float] = deque()
        self._sent = 0
        self._due = 0
        self._quiet = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        self._begin = self._from = self._until = float("inf")

    async def execute(self) -> LoadResult:
        """Connect, warm up, measure, drain; the finished figures."""
        job = self._job
        async with asyncio.timeout(_CONNECT_S):
            await asyncio.gather(*(self._connect() for _ in range(job.connections)))
        self._begin = _clock()
        self._from = self._begin + job.warmup
        self._until = self._from + job.seconds
        pacer = None
        if job.rate:
            pacer = threading.Thread(target=self._pace, daemon=True)
            pacer.start()
        else:
            while self._idle:
                self._next(self._idle.popleft(), _clock())
        await asyncio.sleep(self._from - _clock())
        cpu = time.process_time()
        await asyncio.sleep(self._until - _clock())
        self._result.generator_cpu = (time.process_time() - cpu) / job.seconds
        if pacer:
            await asyncio.to_thread(pacer.join)
            self._send_due()
        await self._drain()
        summarise(self._result, self._latencies, self._late, self._refused)
        return self._result

    def free(self, connection: _Connection) -> None:
        """A connection is ready to send."""
        self._live.add(connection)
        if self._begin == float("inf"):
            self._idle.append(connection)
        else:
            self._next(connection, _clock())

    def answered(self, connection: _Connection, response: Response) -> None:
        """A whole answer has come."""
        now = _clock()
        connection.busy = False
        result = self._result
        # An open loop counts a request where it was due, a closed loop an answer where it came.
        moment = connection.since if self._job.rate else now
        counted = self._from <= moment < self._until
        if counted:
            result.bytes_in += response.size
            result.bytes_out += len(self._requests[connection.number])
        if response.status != 200:
            self._count(f"status {response.status}")
            if counted and response.status in (429, 503):
                self._refused.append(now - connection.since)
        elif self._check.right(connection.number, response.body):
            result.answers += 1
            if counted:
                result.right += 1
                self._latencies.append(now - connection.since)
        else:
            result.wrong += 1
            result.wrong_example = response.body[:200].decode("utf-8", "replace")
        if not response.keep_alive:
            connection.transport.close()
        else:
            self._next(connection, now)

    def fail(self, what: str, connection: _Connection) -> None:
        """The request under way gets no answer; counted once."""
        connection.busy = False
        self._count(what)

    def lost(self, connection: _Connection) -> None:
        """The connection is gone; another takes its place while the run lasts."""
        self._live.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._outstanding() and _clock() >= self._until:
            self._quiet.set()
        if not self._over:
            task = self._loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        while not self._over:
            try:
                await self._loop.create_connection(
                    lambda: _Connection(self), self._job.host, self._job.port
                )
            except OSError:
                self._count("refused")
                await asyncio.sleep(0.1)
            else:
                return

    def _next(self, connection: _Connection, now: float) -> None:
        """Give the connection its next request, or let it rest."""
        if self._job.rate:
            self._collect_due(now)
            if self._backlog:
                self._send(connection, self._backlog.popleft())
                return
        elif now < self._until:
            self._send(connection, now)
            return
        self._idle.append(connection)
        if now >= self._until and not self._outstanding():
            self._quiet.set()

    def _send(self, connection: _Connection, since: float) -> None:
        number = self._sent % len(self._requests)
        self._sent += 1
        connection.send(number, self._requests[number], since)

    def _collect_due(self, now: float) -> None:
        """Move what is due into the backlog, with its intended time: lateness is kept, not lost."""
        while (due := intended_time(self._begin, self._due, self._job.rate)) <= now:
            if due >= self._until:
                return
            self._due += 1
            self._backlog.append(due)
            if due >= self._from:
                self._late.append(now - due)

    def _send_due(self) -> None:
        self._collect_due(_clock())
        while self._backlog and self._idle:
            self._send(self._idle.popleft(), self._backlog.popleft())

    def _pace(self) -> None:
        """In a thread: event loop timers tick in whole milliseconds, too coarse to pace with."""
        number = 0
        while (due := intended_time(self._begin, number, self._job.rate)) < self._until:
            time.sleep(max(due - _clock(), _PACE_S))
            self._loop.call_soon_threadsafe(self._send_due)
            number = max(number, int((_clock() - self._begin) * self._job.rate)) + 1

    def _outstanding(self) -> int:
        return sum(connection.busy for connection in self._live) + len(self._backlog)

    async def _drain(self) -> None:
        if self._outstanding():
            try:
                await asyncio.wait_for(self._quiet.wait(), self._job.drain)
            except TimeoutError:
                self._count("unanswered", self._outstanding())
        self._over = True
        for connection in list(self._live):
            connection.busy = False
            connection.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Transports close their sockets in the next turns of the loop.
        await asyncio.sleep(0.01)

    def _count(self, what: str, times: int = 1) -> None:
        errors = self._result.errors
        errors[what] = errors.get(what, 0) + times


def measure(job: Job) -> LoadResult:
    """Run the job in a process of its own. Raises RuntimeError with what that process said."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(job.to_json()),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr.strip()[-2000:]}")
    return LoadResult(**json.loads(done.stdout))


async def run_job(job: Job) -> LoadResult:
    """Run the job on the running event loop."""
    return await Run(job).execute()


def main() -> None:
    """Job on stdin, result on stdout, both JSON."""
    job = Job.from_json(json.load(sys.stdin))
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(0.0005)
    result = uvloop.run(run_job(job))
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
