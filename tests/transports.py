"""A transport of asyncio that goes nowhere and keeps what is written."""

import asyncio
from typing import Any

__all__ = ["Keeping"]


class Keeping(asyncio.Transport):
    """Never has anything to wait for; nothing may be written once it is closed."""

    def __init__(self, peer: tuple[str, int] = ("127.0.0.1", 1)) -> None:
        super().__init__({"peername": peer})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        return

    pause_reading = resume_reading = write_eof

    def get_write_buffer_size(self) -> int:
        return 0
