"""What the supervisor hands to the processes it starts, and how they take it.

Settings travel over standard input, not over the command line, where a store's password would be
seen by every user of the machine.
"""

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from serinus.settings import Settings

__all__ = ["CONFIG_FAULT", "Inheritance", "configure_logging", "end_with", "receive", "say_alive"]

#: Exit code of a child that can't start with these settings; starting it again would not help.
CONFIG_FAULT = 78


@dataclass(frozen=True, slots=True)
class Inheritance:
    """All that a child is told."""

    name: str
    settings: Settings
    #: Read end of a pipe that only the supervisor can write to; EOF means the supervisor died.
    lifeline_fd: int
    #: Write end of a pipe; a child writes its name there once it works, and a gateway then goes on
    #: doing so: one that falls silent is taken for hung and replaced.
    voice_fd: int
    #: The listening socket (gateways only).
    listen_fd: int = -1

    def encode(self) -> bytes:
        """As bytes for standard input."""
        return msgspec.json.encode(self, enc_hook=_path_out)


def receive() -> Inheritance:
    """Read what the supervisor wrote to standard input."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=Inheritance, dec_hook=_path_in)


def _path_out(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be handed to a child")


def _path_in(kind: type, value: object) -> object:
    return kind(value)


def say_alive(inheritance: Inheritance) -> None:
    """Tell the supervisor that this process works. Never blocks."""
    os.set_blocking(inheritance.voice_fd, False)
    with suppress(BlockingIOError, BrokenPipeError):
        os.write(inheritance.voice_fd, f"{inheritance.name}\n".encode())


def end_with(lifeline_fd: int) -> None:
    """Have this process terminate itself, as if asked to, when the supervisor dies."""

    def watch() -> None:
        while os.read(lifeline_fd, 1):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def configure_logging(settings: Settings, process: str) -> None:
    """Send log events and the log records of libraries to standard error, in one form."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]

    def say_process(
        _: object, __: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {"process": process, **event}

    shared: list[structlog.typing.Processor] = [
        say_process,
        structlog.processors.add_log_level,
        # Of records of libraries, and of nothing else that they carry.
        structlog.stdlib.ExtraAdder(allow=["trace_id"]),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if settings.log_format == "console":
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
