"""What an endpoint serves in the middle of a rollout, told as a config. Pure."""

from dataclasses import replace

from serinus.entities import WHOLE, EndpointConfig
from serinus.rollout.state import RolloutState

__all__ = ["serving_now"]


def serving_now(
    active: EndpointConfig,
    state: RolloutState,
    stable_config: EndpointConfig | None,
    target: EndpointConfig | None,
) -> EndpointConfig:
    """The active config with the rollout's split, and whoever that split brings into it.

    The control is a pool of stable's, so its share is shown as stable's.
    """
    shares = {state.stable: WHOLE - state.candidate_bp, state.candidate: state.candidate_bp}
    entities = list(active.entities)
    known = {each.name for each in entities}
    for name, config in ((state.stable, stable_config), (state.candidate, target)):
        entity = config.entity(name) if config is not None else None
        if entity is not None and name not in known and shares[name]:
            entities.append(entity)
    weights = {each.name: shares.get(each.name, 0) for each in entities}
    if sum(weights.values()) != WHOLE:
        return active  # a config that is gone; what was promised is the best that is known
    return replace(active, entities=tuple(entities), weights=weights)
