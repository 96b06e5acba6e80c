"""Steady traffic from several threads, with a note of every answer."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.running import Running

ROW = {"dataframe_split": {"columns": ["x", "y"], "data": [[1.0, 2.0]]}}


@dataclass
class Tally:
    """What came back."""

    #: Served name → answers.
    by_version: Counter[str] = field(default_factory=Counter)
    #: Status and message → answers that were not 200.
    refused: Counter[str] = field(default_factory=Counter)
    #: Requests that got no answer at all.
    broken: list[str] = field(default_factory=list)
    #: Answers that were not those of the version in their header.
    misattributed: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.by_version.total()


def score(server: Running, endpoint: str, tally: Tally, until: threading.Event) -> None:
    """Ask one row after the other; served names end in the number that the model answers."""
    path = f"/serving-endpoints/{endpoint}/invocations"
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
        while not until.is_set():
            try:
                answer = http.post(path, json=ROW)
            except httpx.TransportError as error:
                tally.broken.append(repr(error))
                time.sleep(0.01)
                continue
            if answer.status_code != 200:
                tally.refused[f"{answer.status_code} {answer.json()['message']}"] += 1
                time.sleep(0.01)
                continue
            version = answer.headers["served-model-name"]
            tally.by_version[version] += 1
            if answer.json()["predictions"] != [int(version[-1])]:
                tally.misattributed.append((version, answer.json()))


@contextmanager
def traffic(server: Running, endpoint: str, threads: int = 4) -> Iterator[Tally]:
    """Ask all the time while the block runs."""
    tally, until = Tally(), threading.Event()
    askers = [
        threading.Thread(target=score, args=(server, endpoint, tally, until))
        for _ in range(threads)
    ]
    for asker in askers:
        asker.start()
    try:
        yield tally
    finally:
        until.set()
        for asker in askers:
            asker.join(60)


def shares(server: Running, endpoint: str, requests: int, threads: int = 4) -> Counter[str]:
    """Served name → answers. As many requests as a test has time for: no client library between."""
    port, body = httpx.URL(server.url).port, json.dumps(ROW).encode()
    request = (
        f"POST /serving-endpoints/{endpoint}/invocations HTTP/1.1\r\nhost: localhost\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body

    def ask(count: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        with socket.create_connection(("127.0.0.1", port or 80), 30) as line:
            answers = line.makefile("rb")
            for _ in range(count):
                line.sendall(request)
                head = iter(answers.readline, b"\r\n")
                assert next(head) == b"HTTP/1.1 200 OK\r\n"
                fields = dict(each.decode().strip().lower().split(": ", 1) for each in head)
                answers.read(int(fields["content-length"]))
                seen[fields["served-model-name"]] += 1
        return seen

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(ask, [requests // threads] * threads), Counter())
