"""An endpoint's policy: how its versions are rolled out, and what a direct update may do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.bodies import storable
from serinus.api.rollout_shapes import PolicyReply
from serinus.errors import InvalidParameterValue
from serinus.rollout.amount import read_duration
from serinus.rollout.checks import Checks, checks_in
from serinus.rollout.default import over_default
from serinus.rollout.fields import Fields, one_of, read_text, single
from serinus.rollout.parse import parse_spec
from serinus.rollout.spec import RolloutSpec
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.traffic import UnitKind

__all__ = ["DirectUpdates", "Policies", "Policy", "policy_of", "spec_of"]

_PATH = "/api/serinus/v1/endpoints/{name}/policy"
_ANY_MODEL = "models:/any/1"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LONGEST_KEY = 200
_LONGEST_TTL_S = 24 * 3600.0


class DirectUpdates(Enum):
    """Whether an update may send users to a version that no rollout has tried."""

    ALLOW = "allow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was checked."""

    #: The spec that a rollout's own goes over; None: none was given.
    rollout: dict[str, Any] | None = None
    verification: Checks = Checks.WARN
    direct_updates: DirectUpdates = DirectUpdates.ALLOW
    #: ``{"header": name}`` or ``{"json_path": path}``: who sent a request; None: ``x-caller``.
    caller: dict[str, str] | None = None
    #: ``{"ttl": "5s"}``: for so long an answer may be given again; None: never.
    cache: dict[str, str] | None = None

    @property
    def takes_updates(self) -> bool:
        """True when an update to a new version becomes a rollout."""
        return self.rollout is not None or self.direct_updates is DirectUpdates.REFUSE

    def mapping(self) -> dict[str, Any]:
        """As JSON, in the store and in replies."""
        return {
            "rollout": self.rollout,
            "verification": self.verification.value,
            "direct_updates": self.direct_updates.value,
            "caller": self.caller,
            "cache": self.cache,
        }


def policy_of(store: Store, endpoint_id: str) -> Policy:
    """The endpoint's policy; without one, the one that changes nothing."""
    stored = store.rollouts.policy(endpoint_id) or {}
    return Policy(
        rollout=stored.get("rollout"),
        verification=checks_in(stored),
        direct_updates=DirectUpdates(stored.get("direct_updates", DirectUpdates.ALLOW.value)),
        caller=stored.get("caller"),
        cache=stored.get("cache"),
    )


def spec_of(policy: Policy, wanted: Mapping[str, Any], endpoint: str) -> RolloutSpec:
    """The spec that ``wanted`` asks for over the policy's; raises InvalidParameterValue."""
    spec = parse_spec(over_default(policy.rollout or {}, wanted))
    if spec.endpoint and spec.endpoint != endpoint:
        raise InvalidParameterValue(
            f"endpoint is {spec.endpoint[:80]!r}, but the call is for '{endpoint}'; leave it out "
            f"or name the same."
        )
    return spec


class Policies:
    """Handlers over one store."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["policy"])
        router.add_api_route(_PATH, self.get, methods=["GET"], response_model=PolicyReply)
        router.add_api_route(_PATH, self.put, methods=["PUT"], response_model=PolicyReply)
        return router

    def get(self, name: str) -> Response:
        """The policy in force; also that of an endpoint that was never given one."""
        return _json(policy_of(self._store, self._store.endpoint(name).id))

    def put(self, name: str, wanted: dict[str, Any], request: Request) -> Response:
        """Replace the policy. It is for updates and rollouts to come.

        Only what it says of verification also counts for those that wait for theirs.
        """
        endpoint, at = self._store.endpoint(name), self._clock()
        policy = _checked(wanted, name)
        mapping = policy.mapping()
        entry = JournalEntry(actor_of(request), "policy_set", at, endpoint.id, mapping)
        self._store.rollouts.set_policy(endpoint.id, mapping, at, entries=[entry])
        caller = ":".join(next(iter(policy.caller.items()))) if policy.caller else ""
        ttl_s = read_duration(policy.cache["ttl"], "cache.ttl") if policy.cache else 0.0
        if (caller, ttl_s) != (endpoint.caller, endpoint.cache_ttl_s):
            self._store.set_fields(name, at=at, caller=caller, cache_ttl_s=ttl_s)
            self._wake()
        return _json(policy)


def _checked(wanted: dict[str, Any], endpoint: str) -> Policy:
    storable(wanted)
    fields = Fields(wanted, "", ("rollout", "verification", "direct_updates", "caller", "cache"))
    default = Policy()
    return Policy(
        rollout=fields.read("rollout", _spec(endpoint), None),
        verification=fields.read("verification", one_of(Checks), default.verification),
        direct_updates=fields.read("direct_updates", one_of(DirectUpdates), default.direct_updates),
        caller=fields.read("caller", _caller, None),
        cache=fields.read("cache", _cache, None),
    )


def _caller(value: object, path: str) -> dict[str, str] | None:
    if value is None:
        return None
    kinds = (UnitKind.HEADER.value, UnitKind.JSON_PATH.value)
    kind, key = single(value, path, kinds)
    text = read_text(key, f"{path}.{kind}")
    good = _HEADER.fullmatch(text) if kind == kinds[0] else all(text.split("."))
    if not good or len(text) > _LONGEST_KEY:
        like = "x-team" if kind == kinds[0] else "context.team"
        raise InvalidParameterValue(f"{path}.{kind} is {text[:80]!r}; write it like {like}.")
    return {kind: text.lower() if kind == kinds[0] else text}


def _cache(value: object, path: str) -> dict[str, str] | None:
    if value is None:
        return None
    _, ttl = single(value, path, ("ttl",))
    ttl_s = read_duration(ttl, f"{path}.ttl")
    if not 0.001 <= ttl_s <= _LONGEST_TTL_S:
        raise InvalidParameterValue(f"{path}.ttl is {ttl!r}; give a duration from 1ms to 1d.")
    return {"ttl": str(ttl)}


def _spec(endpoint: str) -> Callable[[object, str], dict[str, Any] | None]:
    def read(value: object, path: str) -> dict[str, Any] | None:
        if value is None:
            return None
        if isinstance(value, dict) and "candidate" in value:
            raise InvalidParameterValue(
                f"{path}.candidate is not part of a policy: each rollout names its own."
            )
        known = value if isinstance(value, dict) else {}
        asked = {**known, "candidate": _ANY_MODEL} if isinstance(value, dict) else value
        spec = parse_spec(asked, path=path)
        if spec.endpoint not in ("", endpoint):
            raise InvalidParameterValue(
                f"{path}.endpoint is {spec.endpoint[:80]!r}, but the policy is that of "
                f"'{endpoint}'; leave it out."
            )
        return dict(known)

    return read


def _json(policy: Policy) -> Response:
    return json_answer(policy.mapping())
