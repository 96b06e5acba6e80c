"""What the gateway bears of one caller and of all of them; `settings` has the defaults."""

from dataclasses import dataclass

__all__ = ["HEAP", "EdgeLimits"]

#: Variables by which glibc, where it is the C library, keeps the memory that bodies were in for the
#: next ones. Else the kernel takes it back and clears it page by page for each body of megabytes,
#: which costs more than all copies of it.
HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 1024 * 1024),
}


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Sizes are bytes, times seconds."""

    #: The target of a request.
    max_request_line: int = 8 * 1024
    #: One header: its name and its value.
    max_header: int = 8 * 1024
    max_headers: int = 100
    #: All headers together.
    max_head: int = 64 * 1024
    max_body: int = 16 * 1024 * 1024
    max_connections: int = 10_000
    #: Requests that may wait on one connection for the answer to the one before them.
    max_pipelined: int = 100
    #: From a request's first byte to the end of its headers.
    header_deadline_s: float = 10.0
    #: A body may be as slow as it likes for so long; from then on it must keep up with the rate.
    body_grace_s: float = 10.0
    #: Bytes a second.
    body_min_rate: int = 1024
    #: However fast it is, all of a body must have come by then: until it has, it takes up room.
    body_deadline_s: float = 300.0
    #: How long a connection may rest between two requests.
    keep_alive_s: float = 75.0
    #: How long a caller may leave an answer lying.
    send_deadline_s: float = 60.0
