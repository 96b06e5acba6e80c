"""How requests are divided, beside how they should be. Judges nothing."""

from serinus.entities import WHOLE, Endpoint
from serinus.parity.diagnosis.values import RouteShare, Routing

__all__ = ["late_of", "shares_of"]


def shares_of(endpoint: Endpoint, routing: Routing | None) -> list[RouteShare] | None:
    """All gateways together, and each alone; None when nothing is known.

    While a rollout is under way its own evidence says whether its split happened.
    """
    config = endpoint.active
    if routing is None or not routing.divided or config is None:
        return None
    wanted = {each.name: config.weights.get(each.name, 0) / WHOLE for each in config.entities}
    found, whole = [], dict.fromkeys(wanted, 0)
    for gateway, divided in sorted(routing.divided.items()):
        weights = {name: weight for name, (weight, _) in divided.items() if weight}
        if weights != {name: weight for name, weight in config.weights.items() if weight}:
            continue  # counted by the weights of a rollout, or of a moment ago
        for name in sorted(wanted.keys() | divided.keys()):
            _, requests = divided.get(name, (0, 0))
            found.append(
                RouteShare(
                    served=name, wanted=wanted.get(name, 0.0), requests=requests, gateway=gateway
                )
            )
            whole[name] = whole.get(name, 0) + requests
    if not found:
        return None
    together = [
        RouteShare(served=name, wanted=wanted.get(name, 0.0), requests=count)
        for name, count in whole.items()
    ]
    return [*together, *found]


def late_of(routing: Routing | None) -> tuple[list[str], int]:
    """Gateways that serve by older routes than the published ones, and how many there are."""
    if routing is None:
        return [], 0
    late = [gateway for gateway, at in sorted(routing.serving.items()) if at < routing.newest]
    return late, len(routing.serving)
