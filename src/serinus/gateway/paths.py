"""Which endpoint a path wants predictions of, and which of its served entities. Pure."""

from functools import lru_cache

__all__ = ["prediction_at"]


@lru_cache(256)
def prediction_at(path: str) -> tuple[str | None, str | None] | None:
    """Endpoint (None: the default one) and served entity (None: any); None: it asks for another.

    Requests name the same few paths again and again.
    """
    match path.split("/"):
        case ["", "serving-endpoints", name, "invocations"]:
            return name, None
        case ["", "serving-endpoints", name, "served-models", served, "invocations"]:
            return name, served
        case ["", "invocations"]:
            return None, None
        case _:
            return None
