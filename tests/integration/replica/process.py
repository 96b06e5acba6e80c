"""A real replica process, and a peer of its socket, for tests."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serinus.replica.launch import Launch, Phase, Status, read_status, write_launch
from serinus.replica.protocol import Decoder, Format, Frame, Hello, Kind, decode_hello, encode

PATIENCE_S = 90.0
SOURCES = Path(__file__).parents[3] / "src"


class Peer:
    """One connection to a replica, used as a gateway would."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        try:
            self.sock.settimeout(PATIENCE_S)
            self.sock.connect(path)
            self.hello: Hello = decode_hello(self.next())
        except BaseException:
            self.sock.close()
            raise

    def next(self) -> Frame:
        """The next frame; raises EOFError when the replica closed."""
        while not self._frames:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def send(self, frames: Sequence[Frame]) -> None:
        """Send frames in one write."""
        self.sock.sendall(b"".join(map(encode, frames)))

    def ask(self, requests: Sequence[Any], **more: Any) -> list[Frame]:
        """The answers to these bodies, in their order."""
        self.send([request(at, body, **more) for at, body in enumerate(requests)])
        answers = {frame.id: frame for frame in (self.next() for _ in requests)}
        return [answers[at] for at in range(len(requests))]

    def close(self) -> None:
        self.sock.close()


def request(id_: int, body: Any, format_: Format = Format.JSON, aux: int = 0) -> Frame:
    """A REQUEST frame."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Frame(Kind.REQUEST, id_, content, format=format_, aux=aux)


def content(frame: Frame) -> Any:
    """The JSON of an answer."""
    return json.loads(frame.body)


class Running:
    """A replica process and its files."""

    def __init__(self, home: Path, model: Path, **more: Any) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.launch = Launch(
            replica_id="r-1",
            model_digest="sha256:abc",
            model_path=str(model),
            socket_path=str(home / "s"),
            status_path=str(home / "status.json"),
            log_path=str(home / "log"),
            **more,
        )
        write_launch(home, self.launch)
        runtime = home / "runtime"
        runtime.mkdir()
        (runtime / "serinus").symlink_to(SOURCES / "serinus")
        inherited = () if self.launch.lifeline_fd is None else (self.launch.lifeline_fd,)
        with (home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serinus.replica.main", str(home)],
                cwd=home,
                env={**os.environ, "PYTHONPATH": str(runtime)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=inherited,
            )
        self._peers: list[Peer] = []

    def settled(self) -> Status:
        """The status once loading is over."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            status = read_status(Path(self.launch.status_path))
            if status is not None and status.phase is not Phase.LOADING:
                return status
            if self.process.poll() is not None and status is None:
                break
            time.sleep(0.01)
        raise AssertionError(f"the replica came to nothing: {self.log()}")

    def peer(self) -> Peer:
        """A new connection."""
        peer = Peer(self.launch.socket_path)
        self._peers.append(peer)
        return peer

    def log(self) -> str:
        """What it printed."""
        return (self.home / "log").read_text(errors="replace")

    def end(self) -> None:
        """Kill it if it lives."""
        for peer in self._peers:
            peer.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
