"""Gateways replaced under load, again and again: how many requests are lost. It must be none.

    python -m bench.reload [--reloads 45] [--requests 100000] [--out FILE]

A request is lost if it is refused a connection, gets no answer, or one that is not 200. Half of the
callers open a connection for each request, half keep theirs until an answer says that it ends.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from bench.machine import describe
from bench.models import prepare
from bench.rollout_server import ENDPOINT, GATEWAYS, create, serving

__all__ = ["Load", "main"]

_RESULTS = Path(__file__).resolve().parent / "results" / "reload.json"
_BODY = b'{"dataframe_split":{"columns":["x","y"],"data":[[1.0,2.0]]}}'
_WITHIN_S = 300.0


class _Broken(Exception):
    """No answer."""


class Load:
    """Callers in threads of this process, while the block runs."""

    def __init__(self, port: int, path: str, *, fresh: int, kept: int, body: bytes = _BODY) -> None:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
        )
        self._port = port
        self._requests = {
            True: f"{head}\r\n".encode() + body,
            False: f"{head}connection: close\r\n\r\n".encode() + body,
        }
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number < kept,))
            for number in range(fresh + kept)
        ]
        self._counting = threading.Lock()
        self.answered = 0
        #: Kept connections that were told that they end.
        self.closed = 0
        #: What became of each request that was not answered with 200.
        self.lost: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def reached(self, answers: int) -> None:
        """Wait until so many were answered; raises RuntimeError if they are not in time."""
        give_up_at = time.monotonic() + _WITHIN_S
        while self.answered < answers:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.answered} of {answers} answers, lost: {self.lost[:5]}")
            time.sleep(0.02)

    def _call(self, keeps: bool) -> None:
        line: socket.socket | None = None
        while not self._over.is_set():
            try:
                if line is None:
                    line = socket.create_connection(("127.0.0.1", self._port), 60)
                status, stays = self._ask(line, self._requests[keeps])
            except (OSError, _Broken) as error:
                self._note(repr(error), closed=False)
                status, stays = 0, False
            if status:
                self._note("" if status == 200 else f"status {status}", closed=keeps and not stays)
            if not stays and line is not None:
                line.close()
                line = None
        if line is not None:
            line.close()

    @staticmethod
    def _ask(line: socket.socket, request: bytes) -> tuple[int, bool]:
        """(status, whether the connection stays)"""
        line.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            part = line.recv(65536)
            if not part:
                raise _Broken("closed before the answer" if not data else "closed inside it")
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        length = next(int(each[15:]) for each in fields if each.startswith(b"content-length:"))
        while len(body) < length:
            part = line.recv(65536)
            if not part:
                raise _Broken("closed inside the body")
            body += part
        return int(head[9:12]), b"connection: close" not in fields

    def _note(self, lost: str, *, closed: bool) -> None:
        with self._counting:
            self.closed += closed
            if lost:
                self.lost.append(lost)
            else:
                self.answered += 1


def main(arguments: list[str] | None = None) -> int:
    """Measure, show and write; 1 if a request was lost."""
    parser = argparse.ArgumentParser(prog="python -m bench.reload", description=__doc__)
    parser.add_argument("--reloads", type=int, default=23, help="with two gateways each")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    asked = parser.parse_args(arguments)
    machine = describe()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        model = prepare("M1", work)
        with serving(work, work / "server.log") as server:
            create(server, model)
            found = _measure(server.port, work / "home", model.bodies[0], asked)
    found["machine"] = machine
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({name: found[name] for name in found if name != "machine"}, indent=2))
    return 1 if found["lost"] else 0


def _measure(port: int, home: Path, body: bytes, asked: argparse.Namespace) -> dict[str, object]:
    path = f"/serving-endpoints/{ENDPOINT}/invocations"
    command = [str(Path(sys.executable).with_name("serinus")), "reload", "--home", str(home)]
    took: list[float] = []
    each = asked.requests // asked.reloads + 1
    with Load(port, path, fresh=8, kept=8, body=body) as load:
        for number in range(asked.reloads):
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
            load.reached(each * (number + 1))
    return {
        "gateways_replaced": asked.reloads * GATEWAYS,
        "requests": load.answered + len(load.lost),
        "lost": len(load.lost),
        "lost_examples": load.lost[:10],
        "kept_connections_ended": load.closed,
        "reload_s": {"median": sorted(took)[len(took) // 2], "worst": max(took)},
    }


if __name__ == "__main__":
    sys.exit(main())
