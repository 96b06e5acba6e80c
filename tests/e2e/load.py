"""Steady traffic from several threads, with a note of every answer."""

import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any

from tests.e2e.running import Running

ROW = {"dataframe_split": {"columns": ["x", "y"], "data": [[1.0, 2.0]]}}
#: Between two requests of one thread: load, and a machine that has room for the server.
PAUSE_S = 0.01


@dataclass(frozen=True)
class Reply:
    """One answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Line:
    """A kept connection. Any client library would cost more than the server under test."""

    def __init__(self, server: Running) -> None:
        self._port = server.port
        self._socket: socket.socket | None = None
        self._answers: BufferedReader | None = None

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """One request and its answer; raises OSError when none comes."""
        content = json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        request = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{more}"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        try:
            line, answers = self._open()
            line.sendall(request.encode() + content)
            return self._read(answers)
        except OSError:
            self.close()
            raise

    def ask(self, endpoint: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """One prediction."""
        return self.post(f"/serving-endpoints/{endpoint}/invocations", body, headers)

    def _open(self) -> tuple[socket.socket, BufferedReader]:
        # What can be read between two requests is the end of the connection.
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            self.close()
        if self._socket is None or self._answers is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), 30)
            self._answers = self._socket.makefile("rb")
        return self._socket, self._answers

    def _read(self, answers: BufferedReader) -> Reply:
        first = answers.readline()
        if not first:
            raise ConnectionResetError("the server disconnected without an answer")
        head = (line.decode() for line in iter(answers.readline, b"\r\n"))
        parted = (line.partition(":") for line in head)
        headers = {name.strip().lower(): value.strip() for name, _, value in parted}
        length = int(headers.get("content-length", 0))
        content = answers.read(length)
        if len(content) < length:
            raise ConnectionResetError("the server disconnected within an answer")
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(int(first.split()[1]), headers, content)

    def close(self) -> None:
        for each in (self._answers, self._socket):
            if each is not None:
                each.close()
        self._answers = self._socket = None


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
    with closing(Line(server)) as line:
        while not until.is_set():
            time.sleep(PAUSE_S)
            try:
                answer = line.ask(endpoint, ROW)
            except OSError as error:
                tally.broken.append(repr(error))
                continue
            if answer.status != 200:
                tally.refused[f"{answer.status} {answer.json()['message']}"] += 1
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
    """Served name → answers."""

    def ask(count: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        with closing(Line(server)) as line:
            for _ in range(count):
                answer = line.ask(endpoint, ROW)
                assert answer.status == 200
                seen[answer.headers["served-model-name"]] += 1
        return seen

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(ask, [requests // threads] * threads), Counter())
