"""The gateway process: uvicorn on the inherited listening socket, the data plane behind it."""

import asyncio
import gc
import random
import secrets
import socket
from importlib.metadata import version

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serinus.gateway.app import App, AppConfig
from serinus.gateway.control import ControlLine
from serinus.gateway.dataplane import DataPlane
from serinus.gateway.forward import Forwarder
from serinus.server.child import Inheritance, configure_logging, end_with, receive, say_alive
from serinus.server.identity import WORKSPACE_ID
from serinus.server.layout import Layout

__all__ = ["main"]

_log = structlog.get_logger("serinus.gateway")
#: How long a starting gateway waits for a controller that answers but sends nothing.
_PATIENCE_S = 2.0
_VOICE_S = 1.0


async def _run(inheritance: Inheritance) -> None:
    settings = inheritance.settings
    layout = Layout(settings.home)
    incarnation = secrets.token_hex(4)

    def rejected(replica_id: str, reason: str) -> None:
        _log.error("replica_rejected", replica=replica_id, reason=reason)

    dataplane = DataPlane(random.random, rejected)
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
    app = App(
        dataplane,
        forwarder,
        AppConfig(settings.max_body, incarnation, version("mlflow-skinny"), WORKSPACE_ID),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(settings.drain) or 1,
        )
    )
    # What is imported by now stays for ever; no request waits while a collection walks it.
    gc.collect()
    gc.freeze()
    voice = asyncio.create_task(_speak(inheritance))
    ending = asyncio.create_task(_drain(server, app))
    await server.serve(sockets=[socket.socket(fileno=inheritance.listen_fd)])
    voice.cancel()
    ending.cancel()
    following.cancel()
    dataplane.close()
    await forwarder.close()


async def _drain(server: uvicorn.Server, app: App) -> None:
    """Tell the app when the server has been asked to end."""
    while not server.should_exit:  # noqa: ASYNC110 - uvicorn has a flag, not an event
        await asyncio.sleep(0.1)
    app.drain()


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
    loop_factory = uvicorn.Config(App, log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_run(inheritance))


if __name__ == "__main__":
    main()
