"""Whether an answer is the right one for the request that was sent, for every single answer.

A body is decoded once: byte-equal bodies share the verdict. It never trusts the status alone.
"""

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

__all__ = ["AnswerCheck", "Payload", "http_request", "same_value"]

#: Relative difference allowed between floats: batched BLAS may differ in the last places.
_TOLERANCE = 1e-9
_CACHE_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Payload:
    """One request, byte for byte, and what must come back.

    `predictions` is compared with what the answer predicts; without it the body must equal `body`.
    """

    request: bytes
    predictions: Any = None
    body: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """For the generator's own process."""
        return {
            "request": base64.b64encode(self.request).decode(),
            "predictions": self.predictions,
            "body": base64.b64encode(self.body).decode(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Payload":
        """The inverse of `to_json`."""
        return cls(
            base64.b64decode(data["request"]),
            data["predictions"],
            base64.b64decode(data["body"]),
        )


def http_request(method: str, path: str, host: str, body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request; JSON is declared when there is a body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("ascii") + b"\r\n" + body


def same_value(left: Any, right: Any) -> bool:
    """Equal JSON values; floats within a billionth, whole numbers and text exactly."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=0.0)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_value, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_value(left[k], right[k]) for k in left)
    return bool(left == right)


class AnswerCheck:
    """The verdict on a body, by the number of the payload that it answers."""

    __slots__ = ("_payloads", "_seen")

    def __init__(self, payloads: list[Payload]) -> None:
        self._payloads = payloads
        self._seen: list[dict[bytes, bool]] = [{} for _ in payloads]

    def right(self, number: int, body: bytes) -> bool:
        """True when `body` is what payload `number` has to get."""
        seen = self._seen[number]
        verdict = seen.get(body)
        if verdict is None:
            verdict = _judge(self._payloads[number], body)
            if len(seen) < _CACHE_LIMIT:
                seen[bytes(body)] = verdict
        return verdict


def _judge(payload: Payload, body: bytes) -> bool:
    if payload.predictions is None:
        return body == payload.body
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return same_value(payload.predictions, _predictions(answer))


def _predictions(answer: Any) -> Any:
    """What was predicted, in MLflow's form or in the Open Inference Protocol's; else None."""
    if not isinstance(answer, dict):
        return None
    if "predictions" in answer:
        return answer["predictions"]
    outputs = answer.get("outputs")
    if isinstance(outputs, list) and len(outputs) == 1 and isinstance(outputs[0], dict):
        return outputs[0].get("data")
    return None
