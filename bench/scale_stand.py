"""Where `bench.scale` measures: starts its gateways and replicas, sends them tables, weighs them.

Ends only what it started, by pid.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from bench.processes import free_port, limited_environment
from bench.scale_parts import DIGEST
from serinus.gateway.bounds import HEAP
from serinus.replica.launch import Launch, Phase, read_status, write_launch
from serinus.replica.protocol import Decoder, Frame, Kind, encode
from serinus.traffic import EndpointRoutes, ReplicaAddress, RouteTable, ServedRoute

__all__ = ["Gateway", "Stand", "cpu_seconds", "standing", "table"]

_ROOT = Path(__file__).resolve().parent.parent
_MIB = 1024 * 1024
_PATIENCE_S = 60.0


def cpu_seconds(pid: int) -> float:
    """CPU of a process so far: to the nanosecond where the kernel says so, else to the tick."""
    with suppress(OSError, ValueError):
        total = 0
        # Each thread has its own figure.
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def table(
    endpoints: int, versions: int, replicas: list[tuple[str, str]], links: Path
) -> RouteTable:
    """Every served entity with a connection of its own, over the replicas in turn.

    Two replicas of one address are one connection, so each entity's address is a link of its own
    to the socket of one of the replicas.
    """
    links.mkdir()
    made, number = [], 0
    for at in range(endpoints):
        served = []
        for version in range(versions):
            name, path = replicas[number % len(replicas)]
            link = links / str(number)
            link.symlink_to(path)
            address = ReplicaAddress(name, str(link), DIGEST)
            share = 10_000 // versions
            weight = 10_000 - share * (versions - 1) if version == 0 else share
            served.append(ServedRoute(f"v{version}", weight, (address,)))
            number += 1
        made.append(EndpointRoutes(f"e{at}", tuple(served)))
    return RouteTable(1, tuple(made))


@dataclass
class Gateway:
    """One gateway process and the stub of a controller that it follows."""

    process: subprocess.Popen[bytes]
    port: int
    #: Seconds from sending the table to the gateway's acknowledgement.
    applied_s: float = 0.0
    sent: threading.Event = field(default_factory=threading.Event)

    @property
    def memory_mb(self) -> float:
        """What it alone has."""
        info = psutil.Process(self.process.pid).memory_full_info()
        return float(info.uss / _MIB)

    @property
    def cpu_s(self) -> float:
        """So far."""
        return cpu_seconds(self.process.pid)


class Stand:
    """Replicas for all gateways, and the gateways."""

    def __init__(self, home: Path, replicas: int) -> None:
        self._home = home
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = (home / "output.log").open("wb")
        self.replicas: list[tuple[str, str]] = []
        for at in range(replicas):
            name, path = f"r{at}", str(home / f"r{at}")
            self._start("replica", path, name)
            self.replicas.append((name, path))
        for _, path in self.replicas:
            self._until(lambda path=path: _connects(path), "a replica")  # type: ignore[misc]

    def gateway(
        self, endpoints: int, versions: int = 1, replicas: list[tuple[str, str]] | None = None
    ) -> Gateway:
        """One that serves so many endpoints of so many versions each."""
        links = self._home / f"links{len(self._processes)}"
        return self.serve(table(endpoints, versions, replicas or self.replicas, links))

    def serve(self, routes: RouteTable, *, front: str = "own") -> Gateway:
        """One that serves by that table."""
        home = self._home / f"g{len(self._processes)}"
        home.mkdir()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(home / "controller"))
        listener.listen(8)
        port = free_port()
        process = self._start("gateway", str(port), str(home / "controller"), str(home), front)
        made = Gateway(process, port)
        threading.Thread(target=_control, args=(listener, routes, made), daemon=True).start()
        if not made.sent.wait(_PATIENCE_S):
            raise RuntimeError(f"a gateway took up no table; see {self._home / 'output.log'}")
        self._until(lambda: _answers(port), "a gateway")
        return made

    def model(
        self, path: Path, name: str = "model", *, live: bool = True
    ) -> tuple[tuple[str, str], int]:
        """A replica of a real model: its name and socket, and its process."""
        home = self._home / f"home-{name}"
        home.mkdir()
        launch = Launch(
            name,
            DIGEST,
            str(path),
            str(self._home / name),
            str(home / "status"),
            str(home / "log"),
            live=live,
        )
        write_launch(home, launch)
        process = self._run("serinus.replica.main", str(home))

        def ready() -> bool:
            status = read_status(home / "status")
            return status is not None and status.phase is Phase.READY

        self._until(ready, "the model's replica")
        return (name, launch.socket_path), process.pid

    def close(self) -> None:
        """End all of it."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    @property
    def replica_cpu_s(self) -> float:
        """Of all replicas so far."""
        some = self._processes[: len(self.replicas)]
        return sum(cpu_seconds(process.pid) for process in some)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._run("bench.scale_parts", *arguments)

    def _run(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=limited_environment(HEAP if arguments[0] == "gateway" else {}),
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._processes.append(process)
        return process

    def _until(self, true: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + _PATIENCE_S
        while not true():
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{what} did not start; see {self._home / 'output.log'}")
            time.sleep(0.05)


@contextmanager
def standing(home: Path, replicas: int) -> Iterator[Stand]:
    """A stand that is ended."""
    stand = Stand(home, replicas)
    try:
        yield stand
    finally:
        stand.close()


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _control(listener: socket.socket, routes: RouteTable, gateway: Gateway) -> None:
    """A controller that sends one table, and from then on listens."""
    peer, _ = listener.accept()
    decoder = Decoder()
    with listener, peer:
        content = msgspec.json.encode(routes)
        began = 0.0
        while data := peer.recv(1 << 16):
            for frame in decoder.feed(data):
                if frame.kind is Kind.GATEWAY:
                    began = time.perf_counter()
                    peer.sendall(encode(Frame(Kind.ROUTES, body=content)))
                elif frame.kind is Kind.ACKNOWLEDGE:
                    gateway.applied_s = time.perf_counter() - began
                    gateway.sent.set()
