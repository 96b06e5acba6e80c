"""Posts notifications. The address comes from the rollout's spec, the answer is not read."""

from typing import Any

import httpx

from serinus.controller.messages import UndeliveredError

__all__ = ["post_json"]


def post_json(url: str, body: dict[str, Any]) -> None:
    """POST once, within 5 s, without following redirects; raises UndeliveredError."""
    try:
        answer = httpx.post(url, json=body, timeout=5.0, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UndeliveredError(f"{url}: {error}") from error
    if answer.status_code >= 300:
        raise UndeliveredError(f"{url} answered {answer.status_code}")
