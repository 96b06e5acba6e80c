"""Diagnoses of an endpoint: made when asked for, kept in the journal, and asked by CI.

A finding that is new is an entry of its own, once, and so is its end; webhooks hear both.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import APIRouter, Query, Request, Response

from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.assembly import Assembly, entity_of
from serinus.api.offline import offline_of
from serinus.api.parity_shapes import DiagnosisReply, KeysReply, MayRetrainReply
from serinus.api.policy import policy_of
from serinus.api.resources import rfc3339
from serinus.api.starting import live_rollout
from serinus.api.window import window_of
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist, SerinusError
from serinus.parity.diagnosis.advice import fault_in, may_retrain
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.finding import Diagnosis, Verdict
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["DIAGNOSED", "DiagnosisCalls", "Notify"]

_log = structlog.get_logger("serinus.api")
_PATH = "/api/serinus/v1/endpoints/{name}/diagnosis"
#: Kinds of the journal.
DIAGNOSED, FOUND, RECOVERED = "diagnosed", "diagnosis_finding", "diagnosis_recovered"
#: Of one caller only: kept, and never taken for the endpoint's.
_OF_CALLER = "diagnosed_caller"
_ASKED = ("window", "version", "caller", "offline")
#: Posts a body to an address; it says by an error that it could not.
Notify = Callable[[str, Mapping[str, Any]], None]


class DiagnosisCalls:
    """Handlers over one store."""

    def __init__(
        self,
        store: Store,
        assembly: Assembly,
        *,
        clock: Callable[[], datetime],
        notify: Notify | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._assembly = assembly
        self._clock = clock
        self._notify = notify
        self._wake = wake

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["parity"])
        router.add_api_route(_PATH, self.get, methods=["GET"], response_model=DiagnosisReply)
        router.add_api_route(_PATH, self.post, methods=["POST"], response_model=DiagnosisReply)
        router.add_api_route(
            f"{_PATH}/may-retrain",
            self.may_retrain,
            methods=["GET"],
            response_model=MayRetrainReply,
        )
        router.add_api_route(f"{_PATH}/keys", self.keys, methods=["GET"], response_model=KeysReply)
        return router

    def post(self, name: str, request: Request, asked: dict[str, Any] | None = None) -> Response:
        """Diagnose now: ``{"window": "24h", "version", "caller", "offline"}``, all optional."""
        asked = asked or {}
        for key in asked.keys() - set(_ASKED):
            raise InvalidParameterValue(
                f"A diagnosis takes no field '{str(key)[:80]}'; known are {', '.join(_ASKED)}."
            )
        at = self._clock()
        span = window_of(_text(asked, "window") or "24h")
        endpoint = self._store.endpoint(name)
        entity = entity_of(self._store, endpoint, _text(asked, "version"))
        snapshot = self._assembly.snapshot(
            endpoint,
            entity,
            since=at - span,
            until=at,
            caller=_text(asked, "caller"),
            offline=offline_of(asked.get("offline")),
        )
        found = diagnose(snapshot)
        golden = snapshot.golden
        body = {
            "endpoint": name,
            "version": entity.name,
            "caller": snapshot.scope.caller,
            "at": rfc3339(at),
            "window_s": span.total_seconds(),
            "parity_at": rfc3339(golden.at) if golden is not None else None,
            **msgspec.to_builtins(found),
        }
        self._keep(endpoint.id, name, body, found, JournalEntry(actor_of(request), DIAGNOSED, at))
        return json_answer(body)

    def get(self, name: str) -> Response:
        """The last diagnosis of the endpoint; those of one caller apart."""
        last = self._last(self._store.endpoint(name).id)
        if last is None:
            raise ResourceDoesNotExist(
                f"Endpoint '{name}' was not diagnosed yet; run serinus diagnose {name}"
            )
        return json_answer(last)

    def may_retrain(
        self, name: str, version: Annotated[str | None, Query(max_length=255)] = None
    ) -> Response:
        """Whether to retrain or promote by the last diagnosis: ``{"allowed", "reason"}``."""
        endpoint = self._store.endpoint(name)
        last = self._last(endpoint.id, version)
        found = None
        fresh = False
        if last is not None:
            known = {each: last[each] for each in Diagnosis.__struct_fields__ if each in last}
            found = msgspec.convert(known, Diagnosis)
            fresh = self._is_fresh(last)
        allowed, reason = may_retrain(found, fresh=fresh)
        return json_answer(
            {
                "allowed": allowed,
                "reason": reason,
                "verdict": last["verdict"] if last is not None else None,
                "diagnosed_at": last["at"] if last is not None else None,
            }
        )

    def keys(
        self,
        name: str,
        fields: Annotated[str, Query(max_length=1000)],
        version: Annotated[str | None, Query(max_length=255)] = None,
    ) -> Response:
        """The values of sampled rows in some fields: what an offline source has to cover."""
        endpoint = self._store.endpoint(name)
        found = self._assembly.keys(
            endpoint, entity_of(self._store, endpoint, version), fields.split(",")
        )
        return json_answer({"keys": found})

    def _is_fresh(self, last: Mapping[str, Any]) -> bool:
        """Parity passed within one window before now, and so did the diagnosis."""
        oldest = self._clock() - timedelta(seconds=float(last["window_s"]))
        parity = last["parity_at"]
        times = [last["at"], *([parity] if parity else [])]
        return bool(parity) and all(datetime.fromisoformat(each) >= oldest for each in times)

    def _last(self, endpoint_id: str, version: str | None = None) -> dict[str, Any] | None:
        entry = self._store.last_entry(endpoint_id, DIAGNOSED, version=version)
        return dict(entry.data) if entry is not None else None

    def _told_of(self, endpoint_id: str, version: str) -> Mapping[str, Any] | None:
        """The finding of that version that was told and is not over; None: there is none."""
        found, over = (
            self._store.last_entry(endpoint_id, kind, version=version)
            for kind in (FOUND, RECOVERED)
        )
        if found is None or (over is not None and over.id > found.id):
            return None
        return found.data

    def _keep(
        self, endpoint_id: str, name: str, body: dict[str, Any], found: Diagnosis, by: JournalEntry
    ) -> None:
        if body["caller"] is not None:
            entry = JournalEntry(by.actor, _OF_CALLER, by.at, endpoint_id, body)
            self._store.append([entry])
            return
        before = self._told_of(endpoint_id, body["version"])
        entries = [JournalEntry(by.actor, DIAGNOSED, by.at, endpoint_id, body)]
        news = _news(before, found)
        if news is not None:
            data = {
                "endpoint": name,
                "version": body["version"],
                "verdict": found.verdict.value,
                "detail": found.detail,
                "confidence": found.confidence.value,
                "features": found.features,
                "before": before["detail"] if before is not None else None,
            }
            entries.append(JournalEntry(by.actor, news, by.at, endpoint_id, data))
        self._store.append(entries)
        self._tell_rollout(endpoint_id, body["version"], found, by)
        if news is not None:
            self._tell(endpoint_id, {"event": news, "at": rfc3339(by.at), **entries[-1].data})

    def _tell_rollout(
        self, endpoint_id: str, version: str, found: Diagnosis, by: JournalEntry
    ) -> None:
        """The rollout hears what is wrong with its candidate; what follows is the machine's."""
        rollout, fault = live_rollout(self._store, endpoint_id), fault_in(found)
        if rollout is None or rollout.state.candidate != version or fault is None:
            return
        if rollout.state.fault != fault and not rollout.state.spec.self_test:
            id_, data = rollout.state.id, {"fault": fault}
            self._store.rollouts.wish(id_, "diagnosed", by.actor, by.at, data)
            self._wake()

    def _tell(self, endpoint_id: str, body: dict[str, Any]) -> None:
        policy = policy_of(self._store, endpoint_id)
        for each in (policy.rollout or {}).get("notify", []):
            url = each.get("webhook") if isinstance(each, Mapping) else None
            if url and self._notify is not None:
                try:
                    self._notify(url, body)
                except SerinusError as error:
                    _log.warning("webhook_not_delivered", why=error.message)


def _identity(said: Mapping[str, Any]) -> tuple[Any, ...]:
    return said["detail"], tuple(said["features"])


def _news(told: Mapping[str, Any] | None, found: Diagnosis) -> str | None:
    """The kind of entry for what is new; None: it is as was told, or nothing is proved."""
    if found.verdict is Verdict.INCONCLUSIVE:
        return None
    if found.verdict is Verdict.HEALTHY:
        return RECOVERED if told is not None else None
    now = (found.detail, tuple(found.features))
    return FOUND if told is None or _identity(told) != now else None


def _text(asked: Mapping[str, Any], name: str) -> str | None:
    value = asked.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > 255):
        raise InvalidParameterValue(f"{name} must be a text of at most 255 characters.")
    return value
