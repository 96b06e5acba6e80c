"""Who asks, as far as this server can know it: callers are not authenticated yet."""

from fastapi import Request

__all__ = ["ANONYMOUS", "actor_of"]

#: Until callers are known by a token, nobody is.
ANONYMOUS = "anonymous"
_LONGEST = 128


def actor_of(request: Request) -> str:
    """The name in ``x-serinus-actor``, which is taken on trust; else ``anonymous``."""
    name = request.headers.get("x-serinus-actor", "").strip()[:_LONGEST]
    return name if name.isprintable() and name else ANONYMOUS
