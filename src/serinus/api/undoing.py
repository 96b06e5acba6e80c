"""The way back after a success: a rollout like any other, to a version that has served before.

Its pool may still be warm, so one change of routes does it. It must never lead to a version that
was not itself served to everybody.
"""

from serinus.api.target import TargetOf, back_to, sole
from serinus.entities import Endpoint, EndpointConfig, ServedEntity
from serinus.errors import InvalidState, ResourceDoesNotExist
from serinus.rollout.spec import OnSilence, RolloutSpec, Silence, StepLimits, Strategy
from serinus.rollout.state import Phase
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout

__all__ = ["undo_spec", "undo_target"]


def undo_spec(candidate: str, endpoint: str) -> RolloutSpec:
    """At once and without guardrails: it served before, and something is wrong now."""
    return RolloutSpec(
        candidate=candidate,
        endpoint=endpoint,
        strategy=Strategy.BLUE_GREEN,
        steps=(),
        step=StepLimits(min_duration_s=0.0, warmup_s=0.0),
        guardrails=(),
        on=Silence(diagnosis=OnSilence.ADVANCE),
    )


def undo_target(
    store: Store, endpoint: Endpoint, serving: EndpointConfig, version: int | None
) -> TargetOf:
    """To the stable of the last rollout that succeeded, or to what config ``version`` served."""
    if version is None:
        earlier = _stable_before(store, endpoint, serving)
    else:
        config = store.config(endpoint.id, version)
        if config is None:
            raise ResourceDoesNotExist(
                f"Endpoint '{endpoint.name}' has no config version {version}."
            )
        earlier = sole(config, endpoint.name)
    if earlier.model is None or earlier.environment is None:
        raise InvalidState(
            f"{earlier.name} never came so far as to serve in endpoint '{endpoint.name}', so there "
            f"is no going back to it. Start a rollout with --candidate {earlier.model_uri}."
        )
    return lambda config: back_to(config, endpoint.name, earlier)


def _stable_before(store: Store, endpoint: Endpoint, serving: EndpointConfig) -> ServedEntity:
    now = sole(serving, endpoint.name)
    known = store.rollouts.of_endpoint(endpoint.id)
    if known and _is_undone(store, known[0], now):
        raise _undone_already(known[0], now, serving)
    for rollout in known:
        if rollout.state.phase is Phase.SUCCEEDED and rollout.state.activated:
            candidate = _entity(store, rollout, rollout.target_version, rollout.state.candidate)
            stable = _entity(store, rollout, rollout.stable_version, rollout.state.stable)
            if candidate is None or stable is None or candidate.model != now.model:
                break
            return stable
    raise InvalidState(
        f"No rollout has brought what endpoint '{endpoint.name}' serves now, so there is none to "
        f"undo. Name the config version to go back to: serinus rollout undo {endpoint.name} --to N"
    )


def _is_undone(store: Store, last: StoredRollout, now: ServedEntity) -> bool:
    state = last.state
    if state.phase is not Phase.ROLLED_BACK or state.spec.self_test:
        return False
    stable = _entity(store, last, last.stable_version, state.stable)
    return stable is not None and stable.model == now.model


def _undone_already(
    last: StoredRollout, now: ServedEntity, serving: EndpointConfig
) -> InvalidState:
    """Whoever undoes what was rolled back by itself a moment ago must not land one further back."""
    name, state = last.state.endpoint, last.state
    return InvalidState(
        f"The last rollout of endpoint '{name}', {state.id} to {state.candidate}, was rolled back "
        f"already: {now.name} serves, as before it. To go further back, name the config version "
        f"(it serves by {serving.version} now): serinus rollout undo {name} --to N"
    )


def _entity(store: Store, rollout: StoredRollout, version: int, name: str) -> ServedEntity | None:
    config = store.config(rollout.endpoint_id, version)
    return config.entity(name) if config is not None else None
