"""What `bench.scale` measures: a gateway without a supervisor, and replicas without a model.

Both are the real thing but for what they are without: the gateway has its door, guard, data plane
and line to the controller as `serinus serve` composes them; the replica is the real loop on a real
socket, and its answers are constant. `python -m bench.scale_parts` is not for people.
"""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import random

import uvicorn
import uvloop

from serinus.gateway.access import Guard
from serinus.gateway.app import App, AppConfig
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.control import ControlLine
from serinus.gateway.dataplane import DataPlane
from serinus.gateway.door import Door
from serinus.gateway.forward import Forwarder
from serinus.gateway.hosts import Hosts
from serinus.replica.loop import Loop
from serinus.replica.protocol import PROTOCOL_VERSION, Format, Frame, Hello, Kind
from serinus.replica.scorer import Request

__all__ = ["ANSWER", "DIGEST"]

ANSWER = b'{"predictions":[1]}'
DIGEST = "d" * 64


class Constant:
    """Answers every request with the same."""

    def answer(self, requests: Sequence[Request]) -> list[Frame]:
        return [
            Frame(Kind.RESPONSE, each.frame.id, ANSWER, b"", Format.JSON, 200, 50, 1)
            for each in requests
        ]


def replica(path: str, name: str) -> None:
    """Serve until told to end."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1024)
    hello = Hello(PROTOCOL_VERSION, name, DIGEST, os.getpid())
    loop = Loop(listener, Constant(), hello, max_batch=128, drain_s=1.0)
    signal.signal(signal.SIGTERM, lambda *_: loop.drain())
    loop.run()


async def gateway(port: int, controller: str, home: Path, front: str) -> None:
    """Serve by what the controller sends, until told to end; ``front``: ``own`` or ``uvicorn``."""
    guard = Guard(
        Hosts("127.0.0.1", []),
        required=False,
        gateways=1,
        clock=time.monotonic,
        wall=time.time,
    )
    plane = DataPlane(random, lambda *said: print(*said, flush=True), guard=guard, dial_s=30.0)
    line = ControlLine(
        plane,
        socket_path=controller,
        routes_path=home / "routes.json",
        gateway_id="g",
        incarnation="i",
    )
    following = asyncio.create_task(line.run())
    await line.start(30.0)
    app = App(plane, Forwarder(controller), AppConfig(1 << 28, "g", "0", "1"), guard)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    if front == "uvicorn":
        config = uvicorn.Config(
            app, http="httptools", lifespan="off", access_log=False, log_level="warning"
        )
        gc.collect()
        gc.freeze()
        await uvicorn.Server(config).serve(sockets=[listener])
        return
    door = Door(app, EdgeLimits(max_connections=15_000, max_body=1 << 28))
    gc.collect()
    gc.freeze()
    await door.open(listener)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    door.shut()
    following.cancel()
    plane.close()


def main() -> None:
    """``replica PATH NAME`` or ``gateway PORT CONTROLLER HOME FRONT``."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1] == "replica":
        replica(*sys.argv[2:])
    else:
        port, controller, home, front = sys.argv[2:]
        uvloop.run(gateway(int(port), controller, Path(home), front))


if __name__ == "__main__":
    main()
