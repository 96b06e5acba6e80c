"""A replica without a model: keeps the contract with the engine, and misbehaves as STUB says.

Run as ``python stub_replica.py REPLICA_DIR``. Standard library and msgspec only.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from serinus.replica.launch import Launch, Phase, Status, read_launch, write_status
from serinus.replica.protocol import PROTOCOL_VERSION, Decoder, Frame, Hello, Kind, encode
from serinus.replica.protocol import encode_hello as hello


def tell(launch: Launch, phase: Phase, message: str = "") -> None:
    batching = "the stub always batches"
    write_status(
        Path(launch.status_path),
        Status(phase, message, phase is Phase.READY, batching, os.getpid()),
    )


def converse(launch: Launch, peer: socket.socket) -> None:
    """Greet, then answer each PING by a PONG until the peer goes."""
    decoder = Decoder()
    with peer, contextlib.suppress(OSError):
        who = Hello(PROTOCOL_VERSION, launch.replica_id, launch.model_digest, os.getpid())
        peer.sendall(hello(who))
        while data := peer.recv(65536):
            for frame in decoder.feed(data):
                if frame.kind is Kind.PING:
                    peer.sendall(encode(Frame(Kind.PONG, frame.id)))


def load(launch: Launch, behaviour: str) -> None:
    tell(launch, Phase.LOADING)
    if behaviour == "hangs":
        time.sleep(600)
    if behaviour == "fails":
        tell(launch, Phase.FAILED, "ValueError: no weights in model.pkl")
        sys.exit(1)
    if behaviour == "exits":
        print("about to give up", flush=True)
        os._exit(7)
    if behaviour == "forks":
        # One child in our process group, one that left it.
        child = [sys.executable, "-c", "import time; time.sleep(600)"]
        pids = [subprocess.Popen(child, start_new_session=apart).pid for apart in (False, True)]
        Path(launch.status_path).with_name("children").write_text(" ".join(map(str, pids)))
    if behaviour == "prints":
        for number in range(20_000):
            print(f"line {number} " + "x" * 100)


def main(directory: str) -> None:
    launch = read_launch(Path(directory))
    behaviour = os.environ.get("STUB", "")
    print("the stub starts", flush=True)
    if behaviour in ("ignores-term", "forks"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "environment":
        Path(directory, "environ").write_text("\n".join(f"{k}={v}" for k, v in os.environ.items()))
    load(launch, behaviour)
    server = socket.socket(socket.AF_UNIX)
    server.bind(launch.socket_path)
    server.listen()

    def drain(*_: object) -> None:
        tell(launch, Phase.DRAINING)
        print("the stub drains", flush=True)
        time.sleep(float(os.environ.get("STUB_DRAIN_S", "0")))
        os._exit(0)

    if behaviour not in ("ignores-term", "forks"):
        signal.signal(signal.SIGTERM, drain)
    tell(launch, Phase.READY)
    while True:
        peer, _ = server.accept()
        threading.Thread(target=converse, args=(launch, peer), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
