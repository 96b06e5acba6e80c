"""How far an endpoint's live values lie from training's, and two versions' from each other."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from serinus.api.answers import json_answer
from serinus.api.parity_shapes import SkewReply
from serinus.api.prometheus import ConditionOf
from serinus.api.resources import rfc3339
from serinus.api.window import window_of
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist
from serinus.evidence.condition import Batched
from serinus.parity.decayed import SPANS
from serinus.parity.folder import Bundle
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch
from serinus.parity.skew import ANSWERS, FieldSkew, Skew, SkewVerdict, skew_between, skew_of
from serinus.parity.took import stages_of
from serinus.store.hours import VersionSeen, versions_seen
from serinus.store.repository import Store

__all__ = ["Skews"]

_PATH = "/api/serinus/v1/endpoints/{name}/skew"
_HOUR_S = 3600


class Skews:
    """Handlers over one store.

    ``refresh`` has the store hold what replicas know now; ``bundle_of`` gives the contract of a
    model by its digest, or None; ``condition`` what replicas count beside the values.
    """

    def __init__(
        self,
        store: Store,
        *,
        refresh: Callable[[], None],
        bundle_of: Callable[[str], Bundle | None],
        clock: Callable[[], datetime],
        condition: ConditionOf = lambda: None,
    ) -> None:
        self._store = store
        self._refresh = refresh
        self._bundle_of = bundle_of
        self._clock = clock
        self._condition = condition

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["parity"])
        router.add_api_route(_PATH, self.get, methods=["GET"], response_model=SkewReply)
        return router

    def get(
        self,
        name: str,
        window: Annotated[str | None, Query(max_length=40)] = None,
        version: Annotated[str | None, Query(max_length=255)] = None,
        caller: Annotated[str | None, Query(max_length=255)] = None,
        decay: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Response:
        """The skew of each version that had rows in the window, and between versions.

        Whole hours are counted: the window begins with the hour that it begins in. With ``decay``
        each counts by its age, and rows are as many as they are worth.
        """
        at = self._clock()
        if window is not None and decay is not None:
            raise InvalidParameterValue(
                "Skew is of a window or of hours that decay, not both: leave 'window' out."
            )
        fading = None if decay is None else window_of(decay, "decay")
        span = window_of(window or "24h") if fading is None else SPANS * fading
        total = partial(_total, caller, at, fading)
        endpoint = self._store.endpoint(name)
        self._refresh()
        since = int((at - span).timestamp() // _HOUR_S)
        seen = versions_seen(self._store.live.read(endpoint.id, since=since))
        chosen = [each for each in seen if version in (None, each.served)]
        if version is not None and not chosen and not _has(endpoint, version):
            names = ", ".join(sorted({each.served for each in seen})) or "none"
            raise ResourceDoesNotExist(
                f"Endpoint '{name}' has had no served entity '{version[:80]}' in this window; "
                f"those with live values: {names}."
            )
        told = self._told(name)
        versions = [
            self._version(each, total, seen) | _beside(told.get(each.served)) for each in chosen
        ]
        body = {
            "endpoint": name,
            "since": rfc3339(datetime.fromtimestamp(since * _HOUR_S, at.tzinfo)),
            "until": rfc3339(at),
            "caller": caller,
            "decay_s": None if fading is None else fading.total_seconds(),
            "verdict": _overall([each["verdict"] for each in versions]),
            "versions": versions,
        }
        return json_answer(body)

    def _told(self, name: str) -> dict[str, Batched]:
        found = self._condition()
        served = found.served if found is not None else []
        return {each.served: each.batched for each in served if each.endpoint == name}

    def _version(
        self,
        seen: VersionSeen,
        counted: Callable[[VersionSeen], Sketch],
        others: list[VersionSeen],
    ) -> dict[str, Any]:
        total = counted(seen)
        bundle = self._bundle_of(seen.model_digest)
        if bundle is None or bundle.id != seen.contract:
            training = Skew(
                "training",
                SkewVerdict.NO_PROFILE,
                total.rows,
                detail="The contract by which these values were counted is not there any more.",
            )
            between: list[Skew] = []
        else:
            training = skew_of(total, bundle.contract, bundle.profile)
            shape = shape_of(bundle.contract, bundle.profile)
            between = [
                skew_between(total, counted(other), bundle.contract, shape, other.served)
                for other in others
                if other is not seen
            ]
        return {
            "version": seen.served,
            "contract": seen.contract,
            "rows": total.rows,
            "skipped_rows": total.skipped,
            "refused": total.refused,
            "coerced": total.coerced,
            "stages": stages_of(total.took),
            "callers": seen.callers,
            "verdict": training.verdict.value,
            "training": _resource(training),
            "between": [_resource(each) for each in between],
        }


def _total(caller: str | None, at: datetime, fading: timedelta | None, seen: VersionSeen) -> Sketch:
    if fading is None:
        return seen.total(caller)
    return seen.decayed(caller, at.timestamp() / _HOUR_S, fading.total_seconds() / _HOUR_S)


def _beside(told: Batched | None) -> dict[str, Any]:
    """What replicas counted since they began, of whatever hour; None where nobody told."""
    if told is None:
        return {"answer_nulls": None, "lost": None}
    return {
        "answer_nulls": {"nan": told.nan, "infinity": told.infinite},
        "lost": {"rows": told.dropped, "slices": told.evicted, "requests": told.failed},
    }


def _has(endpoint: Any, version: str) -> bool:
    configs = [config for config in (endpoint.active, endpoint.pending) if config is not None]
    return any(config.entity(version) is not None for config in configs)


def _overall(verdicts: list[str]) -> str:
    """The worst that is known; nothing at all is not enough."""
    for verdict in (SkewVerdict.SKEWED, SkewVerdict.ALIKE, SkewVerdict.NO_PROFILE):
        if verdict.value in verdicts:
            return str(verdict.value)
    return str(SkewVerdict.NOT_ENOUGH.value)


def _resource(skew: Skew) -> dict[str, Any]:
    return {
        "against": skew.against,
        "verdict": skew.verdict.value,
        "detail": skew.detail,
        "rows": skew.rows,
        "fields": [_field(each) for each in skew.fields],
    }


def _field(each: FieldSkew) -> dict[str, Any]:
    found = {name: getattr(each, name) for name in each.__dataclass_fields__}
    found["verdict"] = each.verdict.value
    found["is_answer"] = each.field == ANSWERS
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in found.items()
    }
