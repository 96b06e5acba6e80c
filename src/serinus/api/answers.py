"""How replies are written: JSON, with the encoder of the rest of the house."""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import Response

__all__ = ["json_answer"]


def json_answer(body: Mapping[str, Any], **headers: str) -> Response:
    """The body as JSON; ``headers`` with underscores for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(msgspec.json.encode(body), headers=sent, media_type="application/json")
