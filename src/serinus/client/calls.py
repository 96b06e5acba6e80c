"""Every call by name: endpoints, rollouts, what is known of them, predictions."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from serinus.client.access import AccessCalls
from serinus.client.wire import Json, decoded

__all__ = ["Client", "UpdateFailed", "UpdateUnfinished"]

_ENDPOINTS = "/api/2.0/serving-endpoints"
_OURS = "/api/serinus/v1/endpoints"


class UpdateFailed(Exception):
    """The server gave up on an endpoint's new config; what served before still serves."""


class UpdateUnfinished(Exception):
    """The waiting ended before the server did; the update goes on."""


class Client(AccessCalls):
    """Calls one Serinus server. Errors of the server are raised as `serinus.errors` classes."""

    def health(self) -> str:
        """The server's own word on its health; raises when it has none."""
        return self._send("GET", "/health").text.strip()

    def endpoints(self) -> list[Json]:
        """Every endpoint."""
        return list(self._json("GET", _ENDPOINTS).get("endpoints") or [])

    def endpoint(self, name: str) -> Json:
        """One endpoint in full."""
        return self._json("GET", _path(name))

    def create(
        self,
        name: str,
        config: Mapping[str, object],
        *,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        **more: object,
    ) -> Json:
        """Ask for an endpoint; ``config`` has ``served_entities`` and ``traffic_config``.

        ``more``: other fields of the call, such as ``rate_limits``.
        """
        body: Json = {"name": name, "config": dict(config), **more}
        if tags:
            body["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        if description:
            body["description"] = description
        return self._json("POST", _ENDPOINTS, body)

    def update_config(
        self, name: str, config: Mapping[str, object], *, unless_same: bool = False
    ) -> Json:
        """Replace the endpoint's whole config; the old one serves until the new one is ready.

        ``unless_same``: leave it when it serves, or is about to serve, just that.
        """
        path = _path(name, "config") + ("?unless_same=true" if unless_same else "")
        return self._json("PUT", path, dict(config))

    def change_tags(
        self, name: str, add: Mapping[str, str], delete: Iterable[str] = ()
    ) -> list[Json]:
        """Set tags and take others away; the answer is all of them."""
        added = [{"key": key, "value": value} for key, value in add.items()]
        body: Json = {"add_tags": added, "delete_tags": list(delete)}
        return list(self._json("PATCH", _path(name, "tags"), body).get("tags") or [])

    def set_rate_limits(self, name: str, limits: Iterable[Mapping[str, object]]) -> list[Json]:
        """Replace the limits of the endpoint; none takes them away."""
        body: Json = {"rate_limits": [dict(each) for each in limits]}
        return list(self._json("PUT", _path(name, "rate-limits"), body).get("rate_limits") or [])

    def stop(self, name: str) -> Json:
        """Have the endpoint answer nobody and run nothing."""
        return self._json("POST", _path(name, "config:stop"), {})

    def start(self, name: str) -> Json:
        """Have a stopped endpoint serve again what it served."""
        return self._json("POST", _path(name, "config:start"), {})

    def delete(self, name: str) -> None:
        """Take the endpoint away."""
        self._json("DELETE", _path(name))

    def logs(self, name: str, served: str) -> str:
        """What the replicas of a served entity wrote."""
        return str(self._json("GET", _path(name, "served-models", served, "logs")).get("logs", ""))

    def build_logs(self, name: str, served: str) -> str:
        """How the model was fetched and its environment built."""
        path = _path(name, "served-models", served, "build-logs")
        return str(self._json("GET", path).get("logs", ""))

    def wait_until_updated(
        self,
        name: str,
        *,
        timeout_s: float = 1200.0,
        poll_s: float = 0.25,
        on_progress: Callable[[Json], None] | None = None,
    ) -> Json:
        """The endpoint once its config no longer changes; ``on_progress`` sees each answer.

        Raises UpdateFailed, or UpdateUnfinished after ``timeout_s`` seconds.
        """
        end = time.monotonic() + timeout_s
        while True:
            endpoint = self.endpoint(name)
            if on_progress is not None:
                on_progress(endpoint)
            state = (endpoint.get("state") or {}).get("config_update", "NOT_UPDATING")
            if state == "NOT_UPDATING":
                return endpoint
            if state in ("UPDATE_FAILED", "UPDATE_CANCELED"):
                raise UpdateFailed(_failure(name, endpoint, state))
            if time.monotonic() >= end:
                raise UpdateUnfinished(
                    f"endpoint {name!r} is still updating after {timeout_s:.0f} s; the server goes "
                    f"on with it; see: serinus endpoints get {name}"
                )
            time.sleep(poll_s)

    def start_rollout(self, endpoint: str, spec: Mapping[str, object]) -> Json:
        """Start a rollout; ``spec`` goes over the default of the endpoint's policy."""
        return self._json("POST", _own(endpoint, "rollouts"), dict(spec))

    def rollouts(self, endpoint: str, *, limit: int = 20) -> list[Json]:
        """The endpoint's rollouts, the newest first."""
        path = f"{_own(endpoint, 'rollouts')}?limit={limit}"
        return list(self._json("GET", path).get("rollouts") or [])

    def rollout(self, endpoint: str, rollout_id: str = "current") -> Json:
        """One rollout; ``current`` is the one under way, else the newest."""
        return self._json("GET", _own(endpoint, "rollouts", rollout_id))

    def ask(
        self, endpoint: str, verb: str, rollout_id: str = "current", **particulars: object
    ) -> Json:
        """Ask a rollout to promote, pause, resume, approve, abort or retry.

        The answer is the rollout as it is before the controller has heard it. What would mean
        more when said twice (promote) is never repeated by itself.
        """
        path = _own(endpoint, "rollouts", rollout_id, verb)
        return self._json("POST", path, particulars, once=verb == "promote")

    def undo(self, endpoint: str, to: int | None = None) -> Json:
        """Back to what served before the last rollout, or to config version ``to``.

        Never repeated by itself: a second undo would take back the first.
        """
        return self._json("POST", _own(endpoint, "undo"), {"to": to}, once=True)

    def journal(
        self, endpoint: str, rollout_id: str = "current", *, after: int = 0, limit: int = 1000
    ) -> list[Json]:
        """What happened to a rollout, oldest first, from behind the entry ``after``."""
        path = _own(endpoint, "rollouts", rollout_id, "journal")
        return list(self._json("GET", f"{path}?after={after}&limit={limit}").get("entries") or [])

    def evidence(self, endpoint: str, rollout_id: str = "current") -> Json:
        """What the guardrails said last, and at the end of each stage."""
        return self._json("GET", _own(endpoint, "rollouts", rollout_id, "evidence"))

    def replay(self, endpoint: str, rollout_id: str = "current") -> Json:
        """Every decision of a rollout made again from its journal, and whether it stands."""
        return self._json("GET", _own(endpoint, "rollouts", rollout_id, "replay"))

    def verification(self, endpoint: str) -> Json:
        """What the gates before traffic found of each version that is served or prepared."""
        return self._json("GET", _own(endpoint, "verification"))

    def verify(self, endpoint: str) -> Json:
        """Have what is served verified again; the answer is what is known before that."""
        return self._json("POST", _own(endpoint, "verification"), {})

    def contracts(self, endpoint: str) -> list[Json]:
        """The contract of each version that is served or prepared."""
        return list(self._json("GET", _own(endpoint, "contract")).get("contracts") or [])

    def skew(
        self,
        endpoint: str,
        *,
        window: str = "24h",
        version: str | None = None,
        caller: str | None = None,
        decay: str | None = None,
    ) -> Json:
        """How far live values lie from training's, and two versions' from each other.

        With ``decay`` each hour counts by its age, instead of those in a window.
        """
        asked = {"window": window, "version": version, "caller": caller, "decay": decay}
        if decay is not None:
            del asked["window"]
        wanted = urlencode({key: value for key, value in asked.items() if value is not None})
        return self._json("GET", f"{_own(endpoint, 'skew')}?{wanted}")

    def diagnose(
        self,
        endpoint: str,
        *,
        window: str = "24h",
        version: str | None = None,
        caller: str | None = None,
        offline: Mapping[str, object] | None = None,
    ) -> Json:
        """Classify what is wrong with live predictions; ``offline`` is a table of true values."""
        asked = {"window": window, "version": version, "caller": caller, "offline": offline}
        wanted = {key: value for key, value in asked.items() if value is not None}
        return self._json("POST", _own(endpoint, "diagnosis"), wanted)

    def diagnosis(self, endpoint: str) -> Json:
        """The last diagnosis of the endpoint."""
        return self._json("GET", _own(endpoint, "diagnosis"))

    def may_retrain(self, endpoint: str) -> Json:
        """Whether to retrain or promote by the last diagnosis: ``allowed`` and ``reason``."""
        return self._json("GET", _own(endpoint, "diagnosis", "may-retrain"))

    def sampled_keys(
        self, endpoint: str, fields: Iterable[str], version: str | None = None
    ) -> list[Json]:
        """The values of sampled rows in some fields."""
        asked = {"fields": ",".join(fields), "version": version}
        wanted = urlencode({key: value for key, value in asked.items() if value is not None})
        return list(self._json("GET", f"{_own(endpoint, 'diagnosis', 'keys')}?{wanted}")["keys"])

    def tell_outcomes(self, endpoint: str, outcomes: Iterable[Mapping[str, object]]) -> Json:
        """Say how requests turned out: ``{"request_id": …, "value": 1}`` of each.

        The answer counts ``accepted``, ``duplicate``, ``too_late``, ``sampled`` (no rollout waits
        for it; kept for diagnoses) and ``unknown``. Said twice it counts once.
        """
        told = {"outcomes": [dict(each) for each in outcomes]}
        return self._json("POST", _own(endpoint, "outcomes"), told)

    def policy(self, endpoint: str) -> Json:
        """How new versions of the endpoint are rolled out."""
        return self._json("GET", _own(endpoint, "policy"))

    def set_policy(self, endpoint: str, policy: Mapping[str, object]) -> Json:
        """Replace the endpoint's policy."""
        return self._json("PUT", _own(endpoint, "policy"), dict(policy))

    def query(
        self, endpoint: str, body: Mapping[str, object] | bytes, served: str | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """Predictions and response headers; ``served`` pins one served entity.

        Bytes are sent as they are (JSON), so that no number changes on the way.
        """
        pinned = f"/served-models/{quote(served, safe='')}" if served else ""
        path = f"/serving-endpoints/{quote(endpoint, safe='')}{pinned}/invocations"
        answer = self._send("POST", path, body)
        return decoded(answer), answer.headers


def _path(name: str, *rest: str) -> str:
    return "/".join((_ENDPOINTS, *(quote(part, safe="") for part in (name, *rest))))


def _own(endpoint: str, *rest: str) -> str:
    return "/".join((_OURS, *(quote(part, safe="") for part in (endpoint, *rest))))


def _failure(name: str, endpoint: Json, state: str) -> str:
    """One sentence per served entity that did not become ready."""
    if state == "UPDATE_CANCELED":
        return f"the update of endpoint {name!r} was cancelled"
    entities = (endpoint.get("pending_config") or {}).get("served_entities") or []
    reasons = [
        f"{each.get('name')}: {each['state'].get('deployment_state_message') or 'failed'}"
        for each in entities
        if (each.get("state") or {}).get("deployment")
        in ("DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED")
    ]
    why = "; ".join(reasons) or "no reason was given"
    if endpoint.get("config"):
        return f"endpoint {name!r} was not updated: {why}"
    return (
        f"endpoint {name!r} serves nothing yet: {why}\nThe name is taken all the same; give it "
        f"another model: serinus endpoints update {name} --model URI, or take it away: "
        f"serinus endpoints delete {name}"
    )
