"""What a rollout moves an endpoint to: from its config and a candidate to the target config. Pure.

It changes nothing but who carries the traffic: what else the endpoint serves stays as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from serinus.api.naming import MAX_NAME, default_served_name, is_uri
from serinus.api.wishes import check_model, registered
from serinus.engine.remote import is_remote
from serinus.entities import WHOLE, Deployment, EndpointConfig, Optimize, ServedEntity
from serinus.errors import InvalidParameterValue, InvalidState

__all__ = [
    "Target",
    "TargetOf",
    "back_to",
    "candidate_target",
    "identity",
    "self_test_target",
    "sole",
    "wanted_target",
]


@dataclass(frozen=True, slots=True)
class Target:
    """Stable, the candidate in its place, and what else the endpoint keeps, without traffic."""

    stable: ServedEntity
    candidate: ServedEntity
    rest: tuple[ServedEntity, ...] = ()
    auto_capture: dict[str, object] | None = None

    def config(self, version: int, at: datetime) -> EndpointConfig:
        """The target as the endpoint's next config."""
        entities = (self.candidate, *self.rest)
        return EndpointConfig(
            version=version,
            entities=entities,
            weights={each.name: WHOLE if each is self.candidate else 0 for each in entities},
            created_at=at,
            auto_capture=self.auto_capture,
        )


#: Makes the target from the config that serves.
TargetOf = Callable[[EndpointConfig], Target]


def identity(entity: ServedEntity) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
    """What makes two served entities the same to their callers, whatever they are called.

    A model and its converted form are two: that is what lets one be rolled out over the other.
    """
    variables = tuple(sorted(entity.environment_vars.items()))
    return entity.model_uri, entity.intake.value, entity.optimize.value, variables


def sole(config: EndpointConfig, endpoint: str) -> ServedEntity:
    """The one entity that carries all traffic; raises InvalidState."""
    carrying = [each for each in config.entities if config.weights.get(each.name)]
    if len(carrying) == 1:
        return carrying[0]
    split = ", ".join(f"{each.name} {config.weights[each.name] / 100:g} %" for each in carrying)
    raise InvalidState(
        f"Endpoint '{endpoint}' splits its traffic ({split}), so there is no one version to "
        f"compare a candidate with. Send all of it to one served entity first."
    )


def candidate_target(
    config: EndpointConfig,
    endpoint: str,
    uri: str,
    *,
    creator: str,
    at: datetime,
    optimize: Optimize | None = None,
) -> Target:
    """Stable's place for the model ``uri``; raises InvalidState and InvalidParameterValue.

    ``optimize``: the form in which it serves; None: stable's.
    """
    stable = sole(config, endpoint)
    form = stable.optimize if optimize is None else optimize
    _refuse_stable(stable, uri, form)
    others = tuple(each for each in config.entities if each is not stable)
    prepared = next((e for e in others if e.model_uri == uri and e.optimize is form), None)
    if prepared is not None:  # served already, without traffic: nothing has to start
        rest = tuple(each for each in others if each is not prepared)
        return Target(stable, prepared, rest, config.auto_capture)
    if not is_uri(uri):
        raise InvalidParameterValue(
            f"candidate {uri[:80]!r} is not a model URI; write one like models:/my-model/2."
        )
    entity_name, version = registered(uri)
    check_model(entity_name, version, what="candidate")
    candidate = ServedEntity(
        name=_free_name(_named(entity_name, version, form, stable), config, stable),
        entity_name=entity_name,
        entity_version=version,
        replicas=stable.replicas,
        # Where either is elsewhere they say how it is reached: its token is nobody else's.
        environment_vars={}
        if is_remote(stable.model_uri) or is_remote(uri)
        else dict(stable.environment_vars),
        intake=stable.intake,
        optimize=form,
        creator=creator,
        created_at=at,
    )
    return Target(stable, candidate, others, config.auto_capture)


def self_test_target(config: EndpointConfig, endpoint: str) -> Target:
    """Stable against itself, in a second pool; raises InvalidState."""
    stable = sole(config, endpoint)
    again = replace(stable, name=_free_name(f"{stable.name}-aa"[-MAX_NAME:], config, stable))
    others = tuple(each for each in config.entities if each is not stable)
    return Target(stable, again, others, config.auto_capture)


def wanted_target(
    config: EndpointConfig, endpoint: str, wanted: EndpointConfig, candidate: ServedEntity
) -> Target:
    """What a client's whole new config asks for, whose one new entity is ``candidate``."""
    stable = sole(config, endpoint)
    _refuse_stable(stable, candidate.model_uri, candidate.optimize)
    served = {identity(each): each for each in config.entities}
    rest = tuple(
        # What is fetched and running already is not fetched again.
        replace(served[identity(each)], name=each.name, replicas=each.replicas, echo=each.echo)
        for each in wanted.entities
        if each is not candidate
    )
    taken = {each.name for each in (*config.entities, *rest)} | {_control(stable)}
    if candidate.name in taken:
        default = default_served_name(candidate.entity_name, candidate.entity_version)
        candidate = replace(candidate, name=_free_name(default, config, stable, rest))
    return Target(stable, candidate, rest, wanted.auto_capture or config.auto_capture)


def back_to(config: EndpointConfig, endpoint: str, earlier: ServedEntity) -> Target:
    """An entity that served before, exactly as it was: its pool may still be warm."""
    stable = sole(config, endpoint)
    if (stable.model, identity(stable)) == (earlier.model, identity(earlier)):
        raise InvalidParameterValue(
            f"Endpoint '{endpoint}' serves {earlier.model_uri} already; there is nothing to undo."
        )
    others = tuple(each for each in config.entities if each is not stable)
    kept = next((each for each in others if identity(each) == identity(earlier)), None)
    if kept is not None and kept.model == earlier.model:
        rest = tuple(each for each in others if each is not kept)
        return Target(stable, kept, rest, config.auto_capture)
    candidate = replace(
        earlier,
        name=_free_name(earlier.name, config, stable),
        deployment=Deployment.CREATING,
        deployment_message="",
    )
    return Target(stable, candidate, others, config.auto_capture)


def _named(entity_name: str, version: str, form: Optimize, stable: ServedEntity) -> str:
    name = default_served_name(entity_name, version)
    return name if form is stable.optimize else f"{name}-{form.value}"[-MAX_NAME:]


def _refuse_stable(stable: ServedEntity, uri: str, form: Optimize) -> None:
    if form is not stable.optimize:
        return  # the same bytes in another form are another thing to serve
    # An alias may lead to another version by now; the bytes are compared once they are fetched.
    same = uri == stable.model_uri and "@" not in uri
    if same or (stable.model is not None and uri == stable.model.resolved):
        raise InvalidParameterValue(
            f"candidate is {uri}, the very model that serves already; name another version."
        )


def _control(stable: ServedEntity) -> str:
    """The name that a fresh pool of stable would get."""
    return f"{stable.name}-control"


def _free_name(
    name: str, config: EndpointConfig, stable: ServedEntity, also: tuple[ServedEntity, ...] = ()
) -> str:
    taken = {each.name for each in (*config.entities, *also)} | {_control(stable)}
    found, number = name, 1
    while found in taken:
        number += 1
        ending = f"-{number}"
        found = f"{name[: MAX_NAME - len(ending)]}{ending}"
    return found
