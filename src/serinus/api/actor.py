"""Under which name a call is remembered."""

from fastapi import Request

from serinus.api.admission import caller_of

__all__ = ["actor_of"]


def actor_of(request: Request) -> str:
    """The name of the token; where none is asked for, what ``x-serinus-actor`` says, on trust."""
    return caller_of(request.scope).name
