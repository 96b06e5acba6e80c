"""Verifications and contracts of what an endpoint serves: shown, and asked for again.

Nothing here asks a replica: a wish for a new verification is the controller's to carry out.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.bodies import NoBody
from serinus.api.bundles import Bundles, Found
from serinus.api.counts import kept_of
from serinus.api.parity_shapes import ContractsReply, VerificationsReply
from serinus.api.policy import policy_of
from serinus.api.resources import rfc3339
from serinus.entities import ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import ResourceDoesNotExist
from serinus.parity.verification import Gate, Result, with_gate
from serinus.rollout.shadowing import shadow_gate, shadows
from serinus.rollout.state import RolloutState
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout
from serinus.store.verifications import Verified, key_of

__all__ = ["VerificationCalls", "rollout_verification", "verification_resource"]

_ENDPOINT = "/api/serinus/v1/endpoints/{name}"


def verification_resource(
    verified: Verified | None,
    *,
    waived: str = "",
    after: datetime | None = None,
    shadow: Gate | None = None,
) -> dict[str, Any]:
    """What is known of one version; fields may be added, these stay.

    ``waived`` is who let it by, and why; what began before ``after`` is to be done again;
    ``shadow`` is that gate as the version's rollout has it, after all others.
    """
    report = verified.report if verified is not None else None
    if report is not None and shadow is not None:
        report = with_gate(report, shadow)
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
    return verification_resource(
        verified, waived=rollout.state.waived, shadow=_shadow(store, rollout.state)
    )


def _shadow(store: Store, state: RolloutState) -> Gate | None:
    """The shadow gate of a rollout that has one."""
    return shadow_gate(state, kept_of(store, state)) if shadows(state) else None


class VerificationCalls:
    """Handlers over one store."""

    def __init__(
        self,
        store: Store,
        *,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        bundles: Bundles,
    ) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self._bundles = bundles

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["verification"])
        router.add_api_route(
            f"{_ENDPOINT}/verification",
            self.get,
            methods=["GET"],
            response_model=VerificationsReply,
        )
        router.add_api_route(
            f"{_ENDPOINT}/verification",
            self.again,
            methods=["POST"],
            response_model=VerificationsReply,
        )
        router.add_api_route(
            f"{_ENDPOINT}/contract", self.contract, methods=["GET"], response_model=ContractsReply
        )
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
            {**_named(config, entity), **_contract(self._bundles.find(entity.model.digest))}
            for config, entity in _entities(endpoint)
            if entity.model is not None
        ]
        if not found or not self._bundles.any:
            raise ResourceDoesNotExist(
                f"Endpoint '{name}' has no model yet whose contract could be shown. Wait until its "
                f"model is fetched (see its config_update), or look at the model itself: serinus "
                f"contract show MODEL"
            )
        return json_answer({"contracts": found})

    def _reply(self, endpoint: Endpoint) -> Response:
        entities = list(_entities(endpoint))
        known = self._store.verifications.of(filter(None, (key_of(e) for _, e in entities)))
        rollouts = {
            (each.target_version, each.state.candidate): each.state
            for each in reversed(self._store.rollouts.of_endpoint(endpoint.id))
        }
        policy = policy_of(self._store, endpoint.id)
        return json_answer(
            {
                "policy": policy.verification.value,
                "verifications": [
                    {
                        **_named(config, entity),
                        **verification_resource(
                            known.get(key_of(entity)),
                            waived=state.waived if state is not None else "",
                            after=endpoint.verify_after,
                            shadow=_shadow(self._store, state) if state is not None else None,
                        ),
                    }
                    for config, entity in entities
                    for state in [rollouts.get((config.version, entity.name))]
                ],
            }
        )


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


def _contract(found: Found) -> dict[str, Any]:
    """One that can't be trusted is told, and not replaced."""
    if found.error is not None or found.bundle is None:
        why = found.error.message if found.error is not None else None
        return {"origin": None, "id": None, "contract": None, "error": why}
    contract = found.bundle.contract
    return {
        "origin": contract.origin.value,
        "id": found.bundle.id,
        "contract": msgspec.to_builtins(contract),
        "error": None,
    }
