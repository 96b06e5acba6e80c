"""Verifications and contracts of what an endpoint serves: shown, and asked for again.

Nothing here asks a replica: a wish for a new verification is the controller's to carry out.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.bodies import NoBody
from serinus.api.policy import policy_of
from serinus.api.resources import rfc3339
from serinus.entities import ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import ResourceDoesNotExist, SerinusError
from serinus.parity.derived import of_model
from serinus.parity.verification import Result
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout
from serinus.store.verifications import Verified, key_of

__all__ = ["VerificationCalls", "rollout_verification", "verification_resource"]

_ENDPOINT = "/api/serinus/v1/endpoints/{name}"
_KEPT_CONTRACTS = 32


def verification_resource(
    verified: Verified | None, *, waived: str = "", after: datetime | None = None
) -> dict[str, Any]:
    """What is known of one version; fields may be added, these stay.

    ``waived`` is who let it by, and why; what began before ``after`` is to be done again.
    """
    report = verified.report if verified is not None else None
    status = "none" if verified is None else "running" if report is None else "ended"
    if after is not None and (verified is None or verified.started_at < after):
        status = "asked"
    result = report.result if report is not None else None
    if waived and result is not Result.PASS:
        result = Result.WAIVED
    return {
        "status": status,
        "result": result.value if result is not None else None,
        "waived": waived or None,
        "gates": [msgspec.to_builtins(gate) for gate in report.gates] if report is not None else [],
        "differences": msgspec.to_builtins(report.differences) if report is not None else [],
        "notes": report.notes if report is not None else [],
        "rows": report.rows if report is not None else 0,
        "contract_id": report.contract_id if report is not None else "",
        "model_digest": verified.model_digest if verified is not None else "",
        "started_at": rfc3339(verified.started_at) if verified is not None else None,
        "ended_at": rfc3339(verified.ended_at) if verified and verified.ended_at else None,
    }


def rollout_verification(store: Store, rollout: StoredRollout) -> dict[str, Any]:
    """What is known of a rollout's candidate."""
    config = store.config(rollout.endpoint_id, rollout.target_version)
    entity = config.entity(rollout.state.candidate) if config is not None else None
    key = key_of(entity) if entity is not None else ""
    verified = store.verifications.of([key] if key else []).get(key)
    return verification_resource(verified, waived=rollout.state.waived)


class VerificationCalls:
    """Handlers over one store.

    ``model_directory`` says where the pinned files of a model digest are; None: nowhere here.
    """

    def __init__(
        self,
        store: Store,
        *,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        model_directory: Callable[[str], Path] | None,
    ) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self._model_directory = model_directory
        self._contracts: dict[str, dict[str, Any]] = {}

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["verification"])
        router.add_api_route(f"{_ENDPOINT}/verification", self.get, methods=["GET"])
        router.add_api_route(f"{_ENDPOINT}/verification", self.again, methods=["POST"])
        router.add_api_route(f"{_ENDPOINT}/contract", self.contract, methods=["GET"])
        return router

    def get(self, name: str) -> Response:
        """What the gates found of each version that the endpoint serves or prepares."""
        return self._reply(self._store.endpoint(name))

    def again(self, name: str, request: Request, asked: NoBody | None = None) -> Response:
        """Verify again what the endpoint serves or prepares, on its running replicas."""
        endpoint, at = self._store.endpoint(name), self._clock()
        entry = JournalEntry(actor_of(request), "verification_requested", at, endpoint.id)
        self._store.set_fields(name, at=at, verify_after=at, journal=[entry])
        self._wake()
        return self._reply(self._store.endpoint(name))

    def contract(self, name: str) -> Response:
        """The contract of each version that the endpoint serves or prepares."""
        endpoint = self._store.endpoint(name)
        found = [
            {**_named(config, entity), **self._contract(entity.model.digest)}
            for config, entity in _entities(endpoint)
            if entity.model is not None
        ]
        if not found or self._model_directory is None:
            raise ResourceDoesNotExist(
                f"Endpoint '{name}' has no model yet whose contract could be shown. Wait until its "
                f"model is fetched (see its config_update), or look at the model itself: serinus "
                f"contract show MODEL"
            )
        return _json({"contracts": found})

    def _reply(self, endpoint: Endpoint) -> Response:
        entities = list(_entities(endpoint))
        known = self._store.verifications.of(filter(None, (key_of(e) for _, e in entities)))
        waivers = {
            (each.target_version, each.state.candidate): each.state.waived
            for each in self._store.rollouts.of_endpoint(endpoint.id)
        }
        policy = policy_of(self._store, endpoint.id)
        return _json(
            {
                "policy": policy.verification.value,
                "verifications": [
                    {
                        **_named(config, entity),
                        **verification_resource(
                            known.get(key_of(entity)),
                            waived=waivers.get((config.version, entity.name), ""),
                            after=endpoint.verify_after,
                        ),
                    }
                    for config, entity in entities
                ],
            }
        )

    def _contract(self, digest: str) -> dict[str, Any]:
        """Read once: a digest is the same bytes for ever."""
        found = self._contracts.get(digest)
        if found is None and self._model_directory is not None:
            found = _read(self._model_directory(digest))
            while len(self._contracts) >= _KEPT_CONTRACTS:
                self._contracts.pop(next(iter(self._contracts)), None)
            self._contracts[digest] = found
        return found or {}


def _entities(endpoint: Endpoint) -> Iterator[tuple[EndpointConfig, ServedEntity]]:
    """What serves, then what is being prepared and does not serve already."""
    pending = endpoint.pending if endpoint.update is ConfigUpdate.IN_PROGRESS else None
    seen: set[tuple[str, str]] = set()
    for config in filter(None, (endpoint.active, pending)):
        for entity in config.entities:
            identity = (entity.name, key_of(entity))
            if identity not in seen:
                seen.add(identity)
                yield config, entity


def _named(config: EndpointConfig, entity: ServedEntity) -> dict[str, Any]:
    return {
        "served_entity": entity.name,
        "config_version": config.version,
        "model": entity.model_uri,
    }


def _read(directory: Path) -> dict[str, Any]:
    try:
        bundle = of_model(directory)
    except SerinusError as error:  # a contract that can't be trusted is told, and not replaced
        return {"origin": None, "id": None, "contract": None, "error": error.message}
    contract = bundle.contract
    return {
        "origin": contract.origin.value,
        "id": bundle.id,
        "contract": msgspec.to_builtins(contract),
        "error": None,
    }


def _json(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
