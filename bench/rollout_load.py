"""Light closed-loop load with a note of every answer: who gave it, and which gateway passed it on.

Runs in its own process (`python -m bench.rollout_load`): a job on stdin, one line when it is
under way, one line a request into the job's file once stdin has ended. It never retries.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop

from bench.rollout_figures import CANDIDATE, STABLE, Answer

__all__ = ["main", "read_answers"]

#: Connections opened in search of one to each gateway: the kernel deals them out.
_DEALT = 64


@dataclass(slots=True)
class _Connection:
    """One kept connection with at most one request under way."""

    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gateway: str = ""

    @classmethod
    async def open(cls, port: int) -> "_Connection":
        return cls(port, *await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body; raises OSError or EOFError."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = await self.reader.readexactly(int(headers["content-length"]))
        self.gateway = headers.get("x-request-id", "").rpartition("-")[0]
        return int(head[0].split()[1]), headers, body


class _Load:
    """All connections of one job."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._over = False
        self._answers: list[Answer] = []
        #: Served name → its word in the notes, and the only right answer.
        self._right = {name: (word, right) for name, (word, right) in job["served"].items()}

    async def run(self) -> list[Answer]:
        job = self._job
        probes = await self._one_for_each_gateway()
        others = [await _Connection.open(job["port"]) for _ in range(job["others"])]
        print(json.dumps([probe.gateway for probe in probes]), flush=True)
        tasks = [
            *(asyncio.create_task(self._ask_on(probe, job["probe"], 0.001)) for probe in probes),
            *(asyncio.create_task(self._ask_on(other, "", 0.004)) for other in others),
        ]
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        self._over = True
        await asyncio.gather(*tasks)
        return self._answers

    async def _one_for_each_gateway(self) -> list[_Connection]:
        found: dict[str, _Connection] = {}
        request = self._request("nobody")
        for _ in range(_DEALT):
            connection = await _Connection.open(self._job["port"])
            await connection.ask(request)
            if found.setdefault(connection.gateway, connection) is not connection:
                connection.writer.close()
            if len(found) == self._job["gateways"]:
                return list(found.values())
        raise RuntimeError(f"only {len(found)} gateways answered {_DEALT} connections")

    async def _ask_on(self, connection: _Connection, unit: str, think_s: float) -> None:
        number = 0
        while not self._over:
            number += 1
            request = self._request(unit or f"u{number}")
            sent = time.time_ns()
            try:
                status, headers, body = await connection.ask(request)
                outcome = self._outcome(status, headers, body)
                gateway, received = connection.gateway, time.time_ns()
            except (OSError, EOFError) as error:
                outcome, gateway, received = type(error).__name__, "", time.time_ns()
                connection = await _Connection.open(connection.port)
            self._answers.append(Answer(gateway, bool(unit), sent, received, outcome))
            await asyncio.sleep(think_s)

    def _request(self, unit: str) -> bytes:
        body = self._job["body"].encode()
        head = (
            f"POST /serving-endpoints/{self._job['endpoint']}/invocations HTTP/1.1\r\n"
            f"host: localhost\r\ncontent-type: application/json\r\nx-user-id: {unit}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _outcome(self, status: int, headers: dict[str, str], body: bytes) -> str:
        if status != 200:
            return f"status {status}"
        word, right = self._right.get(headers.get("served-model-name", ""), ("unknown", None))
        if word in (STABLE, CANDIDATE) and json.loads(body).get("predictions") == right:
            return str(word)
        return f"wrong answer of {word}"


def read_answers(text: str) -> list[Answer]:
    """What `main` has written."""
    return [Answer(*json.loads(line)) for line in text.splitlines()]


def main() -> None:
    """Load until stdin ends."""
    job = json.loads(sys.stdin.readline())
    answers = uvloop.run(_Load(job).run())
    with open(job["out"], "w", encoding="utf-8") as out:
        for a in answers:
            out.write(json.dumps([a.gateway, a.probe, a.sent, a.received, a.outcome]) + "\n")


if __name__ == "__main__":
    main()
