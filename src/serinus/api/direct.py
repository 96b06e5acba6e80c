"""What a whole new config means on an endpoint with a policy: an update as ever, a rollout, or no.

Pure. It never lets an update pass that the policy refuses, and names the way that is open.
"""

from serinus.api.policy import DirectUpdates, Policy
from serinus.api.target import identity
from serinus.entities import WHOLE, EndpointConfig, ServedEntity
from serinus.errors import InvalidParameterValue

__all__ = ["candidate_in"]


def candidate_in(
    policy: Policy, serving: EndpointConfig, wanted: EndpointConfig, endpoint: str
) -> ServedEntity | None:
    """The new version that a rollout must bring; None for an update that goes its old way.

    Raises InvalidParameterValue for what the policy refuses.
    """
    if not policy.takes_updates:
        return None
    now: dict[object, int] = {}
    for each in serving.entities:
        now[identity(each)] = now.get(identity(each), 0) + serving.weights.get(each.name, 0)
    new = [each for each in wanted.entities if identity(each) not in now]
    if len(new) == 1 and wanted.weights.get(new[0].name) == WHOLE and _is_model(new[0], serving):
        return new[0]
    if policy.direct_updates is DirectUpdates.REFUSE:
        _refuse(wanted, now, new, endpoint)
    return None


def _is_model(candidate: ServedEntity, serving: EndpointConfig) -> bool:
    """False for a model that serves already and only gets other variables or a second name."""
    return all(
        candidate.model_uri != each.model_uri
        for each in serving.entities
        if serving.weights.get(each.name)
    )


def _refuse(
    wanted: EndpointConfig,
    now: dict[object, int],
    new: list[ServedEntity],
    endpoint: str,
) -> None:
    """Raise unless this sends nobody to a version that has not as much traffic already."""
    way = (
        f"Send one new version with 100 %, which becomes a rollout by the policy, or use: serinus "
        f"rollout start {endpoint} --candidate URI"
    )
    sent = [each for each in new if wanted.weights.get(each.name)]
    if sent:
        names = ", ".join(each.name for each in sent)
        raise InvalidParameterValue(
            f"The policy of endpoint '{endpoint}' refuses direct updates, and this one would send "
            f"users straight to {names}. {way}"
        )
    after: dict[object, int] = {}
    for each in wanted.entities:
        after[identity(each)] = after.get(identity(each), 0) + wanted.weights.get(each.name, 0)
    for each in wanted.entities:
        before = now.get(identity(each), 0)
        if after[identity(each)] > before:
            raise InvalidParameterValue(
                f"The policy of endpoint '{endpoint}' refuses direct updates, and this one would "
                f"raise {each.name} from {before / 100:g} % to {after[identity(each)] / 100:g} %. "
                f"{way}"
            )
