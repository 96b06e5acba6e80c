"""How requests turned out, told later: each label goes to the rollout that its request was part of.

It also goes to the request itself where that was sampled, for diagnoses. Nothing here judges; a
label of an unknown request is answered as such and changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response

from serinus.api.answers import json_answer
from serinus.api.bodies import storable
from serinus.api.parity_shapes import OutcomesReply
from serinus.errors import InvalidParameterValue
from serinus.evidence.exposure import client_key, request_key
from serinus.rollout.fields import Fields, items, read_text
from serinus.rollout.spec import GuardrailKind
from serinus.rollout.state import RolloutState
from serinus.store.outcomes import Label, Taken
from serinus.store.repository import Store

__all__ = ["OutcomeCalls"]

_PATH = "/api/serinus/v1/endpoints/{name}/outcomes"
_KEYS = ("request_id", "client_request_id", "value", "time", "metric")
#: Labels in one call.
_MOST = 5_000
#: Rollouts of an endpoint, the newest first, among which a request is looked for.
_ROLLOUTS = 20
#: Replicas are not asked for their newest rows more often.
_REFRESH = timedelta(seconds=2)


class OutcomeCalls:
    """Handlers over one store."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime],
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        """``refresh`` has the store hold what replicas have sampled until now."""
        self._store = store
        self._clock = clock
        self._refresh = refresh
        self._refreshed: datetime | None = None

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["outcomes"])
        router.add_api_route(_PATH, self.post, methods=["POST"], response_model=OutcomesReply)
        return router

    def post(self, name: str, wanted: dict[str, Any]) -> Response:
        """Say how requests turned out: ``{"outcomes": [{"request_id", "value"}, …]}``.

        The answer says of each, in the order given, what became of it.
        """
        storable(wanted)
        fields = Fields(wanted, "", ("outcomes",))
        found = items(fields.raw("outcomes"), "outcomes")
        if len(found) > _MOST:
            raise InvalidParameterValue(
                f"outcomes has {len(found):,} items; send at most {_MOST:,} in one call."
            )
        labels = [_label(value, path) for value, path in found]
        endpoint = self._store.endpoint(name)
        windows = {
            state.evidence_key: window
            for state in self._states(endpoint.id)
            if (window := _windows(state))
        }
        at = self._clock()
        taken = self._store.outcomes.label(labels, windows, int(at.timestamp() * 1e6))
        taken = self._sampled(endpoint.id, labels, taken, at)
        counts = Counter(taken)
        body = {
            **{each.value: counts[each] for each in Taken},
            "results": [each.value for each in taken],
        }
        return json_answer(body)

    def _sampled(
        self, endpoint_id: str, labels: list[Label], taken: list[Taken], at: datetime
    ) -> list[Taken]:
        """What became of labels that no rollout waits for, too."""
        found = self._store.samples.label(endpoint_id, labels)
        new = self._refreshed is None or at - self._refreshed >= _REFRESH
        if new and Taken.UNKNOWN in found:
            # Replicas may hold rows that nobody has asked for yet.
            self._refreshed = at
            self._refresh()
            missed = [place for place, each in enumerate(found) if each is Taken.UNKNOWN]
            late = self._store.samples.label(endpoint_id, [labels[place] for place in missed])
            for place, each in zip(missed, late, strict=True):
                found[place] = each
        return [
            sampled if each is Taken.UNKNOWN else each
            for each, sampled in zip(taken, found, strict=True)
        ]

    def _states(self, endpoint_id: str) -> list[RolloutState]:
        found = self._store.rollouts.of_endpoint(endpoint_id, limit=_ROLLOUTS)
        return [rollout.state for rollout in found]


def _windows(state: RolloutState) -> Mapping[str, int]:
    """Metric → its label window in microseconds."""
    return {
        guardrail.metric: int(guardrail.label_window_s * 1e6)
        for guardrail in state.spec.guardrails
        if guardrail.kind is GuardrailKind.QUALITY
    }


def _label(value: object, path: str) -> Label:
    fields = Fields(value, path, _KEYS)
    named = [key for key in ("request_id", "client_request_id") if key in fields]
    if len(named) != 1:
        raise InvalidParameterValue(
            f"{path} must have either request_id (the header x-request-id of the answer) or "
            f"client_request_id (as sent with the request); it has {' and '.join(named) or 'none'}."
        )
    fields.read("time", _time, None)
    metric = fields.read("metric", read_text, "")
    outcome = _value(fields.raw("value"), fields.at("value"))
    if named == ["request_id"]:
        request = read_text(fields.raw("request_id"), fields.at("request_id"))
        return Label(outcome, request=request_key(request.encode()), metric=metric)
    client = _client(fields.raw("client_request_id"), fields.at("client_request_id"))
    return Label(outcome, client=client_key(client), metric=metric)


def _client(value: object, path: str) -> str:
    # As in the request itself, where a number stands for its digits.
    number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if number or value == "" else read_text(value, path)


def _value(value: object, path: str) -> float:
    if not isinstance(value, (bool, int, float)) or not 0 <= value <= 1:
        raise InvalidParameterValue(
            f"{path} is {value!r}; an outcome is a number from 0 (bad) to 1 (good), or true or "
            "false."
        )
    return float(value)


def _time(value: object, path: str) -> datetime:
    told = read_text(value, path)
    try:
        at = datetime.fromisoformat(told)
    except ValueError as error:
        raise InvalidParameterValue(
            f"{path} is {told!r}; write a time like 2026-03-01T12:00:00Z."
        ) from error
    if at.tzinfo is None:
        raise InvalidParameterValue(f"{path} is {told!r}, without a zone; end it with Z for UTC.")
    return at
