"""The gateway process: the inherited listening socket in front, the data plane behind it.

SIGTERM ends it. SIGUSR1 retires it: another gateway has the socket by then, nobody may be lost.
"""

import asyncio
import gc
import random
import resource
import secrets
import signal
import socket
import sys
import time
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Libraries load them for their command lines and colours: 6 MB that nobody here looks at.
    sys.modules["click"] = sys.modules["rich"] = None  # type: ignore[assignment]

import structlog
import uvloop

from serinus import __version__
from serinus.gateway.access import Guard
from serinus.gateway.app import App, AppConfig
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.cache import CacheLimits
from serinus.gateway.control import ControlLine
from serinus.gateway.dataplane import DataPlane
from serinus.gateway.door import Door
from serinus.gateway.encoding import Inflation
from serinus.gateway.forward import Forwarder
from serinus.gateway.hosts import Hosts
from serinus.server.child import Inheritance, configure_logging, end_with, receive, say_alive
from serinus.server.identity import WORKSPACE_ID
from serinus.server.layout import Layout
from serinus.server.tls import scheme, tls_context
from serinus.settings import Settings

if TYPE_CHECKING:
    from serinus.gateway.spans import Export

__all__ = ["main"]

_log = structlog.get_logger("serinus.gateway")
#: How long a starting gateway waits for a controller that answers but sends nothing.
_PATIENCE_S = 2.0
_VOICE_S = 1.0
#: What a gateway that is being replaced has counted goes out within this time.
_LAST_FLUSH_S = 0.5
#: Files that are not connections of callers: replicas, logs, the controller.
_OTHER_FILES = 256


async def _run(inheritance: Inheritance) -> None:
    settings = inheritance.settings
    layout = Layout(settings.home)
    incarnation = secrets.token_hex(4)

    def rejected(replica_id: str, reason: str) -> None:
        _log.error("replica_rejected", replica=replica_id, reason=reason)

    guard = _guard(settings)
    cache = CacheLimits(settings.cache_memory)
    dataplane = DataPlane(random.random, rejected, guard=guard, cache=cache)
    forwarder = Forwarder(str(layout.controller_socket))
    control = ControlLine(
        dataplane,
        socket_path=str(layout.links_socket),
        routes_path=layout.routes,
        gateway_id=inheritance.name,
        incarnation=incarnation,
    )
    following = asyncio.create_task(control.run())
    await control.start(_PATIENCE_S)
    app = App(dataplane, forwarder, _app_config(settings, incarnation), guard)
    export = _export(inheritance)
    refused: Counter[int] = Counter()
    dataplane.meters.of("").statuses = refused
    door = Door(export.around(app) if export else app, _limits(settings), refused)
    if not await door.self_test():
        sys.exit(1)
    # What is imported by now stays for ever; no request waits while a collection walks it.
    gc.collect()
    gc.freeze()
    await door.open(socket.socket(fileno=inheritance.listen_fd), tls_context(settings))
    voice = asyncio.create_task(_speak(inheritance))
    if await _told_to_end() is signal.SIGUSR1:
        door.retire()
    else:
        door.shut()
    app.drain()
    await door.emptied(settings.drain)
    await asyncio.sleep(_LAST_FLUSH_S)
    voice.cancel()
    following.cancel()
    dataplane.close()
    await forwarder.close()
    if export is not None:
        await export.close()


def _guard(settings: Settings) -> Guard:
    return Guard(
        Hosts(settings.host, settings.hosts.split(",")),
        required=settings.auth == "required",
        gateways=settings.gateways,
        clock=time.monotonic,
        wall=time.time,  # noqa: TID251 - tokens expire by the calendar
    )


def _app_config(settings: Settings, incarnation: str) -> AppConfig:
    return AppConfig(
        settings.max_body,
        incarnation,
        version("mlflow-skinny"),
        WORKSPACE_ID,
        Inflation(settings.max_decompressed, settings.max_ratio),
        __version__,
        settings.max_bodies,
        scheme(settings),
        settings.max_in_flight,
    )


def _export(inheritance: Inheritance) -> "Export | None":
    """Where spans go; None when they go nowhere."""
    url = inheritance.settings.otlp_endpoint
    if not url:
        return None
    try:
        # An extra, and half a second of every start.
        from serinus.gateway.spans import Export  # noqa: PLC0415
    except ImportError as error:
        # The variable may be there for all programs of a machine: that must not end this one.
        _log.warning("spans_not_sent", why=str(error), mend="pip install 'serinus[otel]'")
        return None
    return Export(url, service="serinus", version=__version__, gateway=inheritance.name)


def _limits(settings: Settings) -> EdgeLimits:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = settings.max_connections
    if files != resource.RLIM_INFINITY and files - _OTHER_FILES < room:
        room = max(files - _OTHER_FILES, 16)
        _log.warning("fewer_connections", wanted=settings.max_connections, files=files, most=room)
    return EdgeLimits(
        max_request_line=settings.max_request_line,
        max_header=settings.max_header,
        max_headers=settings.max_headers,
        max_head=settings.max_head,
        max_body=settings.max_body,
        max_connections=room,
        max_pipelined=settings.max_pipelined,
        header_deadline_s=settings.header_deadline,
        body_grace_s=settings.body_grace,
        body_min_rate=settings.body_min_rate,
        body_deadline_s=settings.body_deadline,
        keep_alive_s=settings.keep_alive,
        send_deadline_s=settings.send_deadline,
    )


async def _told_to_end() -> signal.Signals:
    """Wait for the signal to end, and return it."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[signal.Signals] = loop.create_future()

    def tell(number: signal.Signals) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(number, tell, number)
    return await told


async def _speak(inheritance: Inheritance) -> None:
    """Say that the event loop turns, until cancelled."""
    while True:
        say_alive(inheritance)
        await asyncio.sleep(_VOICE_S)


def main() -> None:
    """Run until told to end, or until the supervisor dies."""
    inheritance = receive()
    configure_logging(inheritance.settings, inheritance.name)
    end_with(inheritance.lifeline_fd)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(inheritance))


if __name__ == "__main__":
    main()
