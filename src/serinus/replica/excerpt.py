"""The beginning of a text that may be long, for messages."""

__all__ = ["excerpt"]


def excerpt(text: str, most: int = 60) -> str:
    """The text, or its beginning and dots."""
    return text if len(text) <= most else text[: most - 3] + "..."
