"""What a simulated controller touches the world through: each call may be its last.

A crash comes before a call or after it, never inside: a transaction happens whole or not at all.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.controllers import Controller

__all__ = ["Crash", "LinksPort", "Port", "StorePort"]

_WRITES = ("publish", "save_entity", "activate", "fail", "purge", "append")
_READS = ("endpoints", "endpoint", "config", "routes", "journal")
_ROLLOUT_WRITES = ("decide", "drop_wish", "done", "postpone", "keep_evidence")
_ROLLOUT_READS = (
    "get",
    "relevant",
    "unreadable",
    "wishes",
    "messages",
    "refused",
    "evidence",
    "of_endpoint",
)
_ENGINE = ("stage", "ensure", "list", "renew", "stop", "logs")


class Crash(BaseException):
    """The controller's process is gone."""


class Port:
    """Calls of ``target``: the ``guarded`` ones are seen by the world, the others pass."""

    def __init__(
        self,
        controller: "Controller",
        prefix: str,
        target: object,
        guarded: tuple[str, ...],
        passed: tuple[str, ...] = (),
    ) -> None:
        self._controller = controller
        self._prefix = prefix
        self._target = target
        self._guarded = guarded
        self._passed = passed

    def __getattr__(self, name: str) -> Any:
        """Made at its first use: most controllers do not live long enough to use them all."""
        if name not in self._guarded and name not in self._passed:
            raise AttributeError(f"the simulation knows no call named {name}")
        call = getattr(self._target, name)
        if name in self._guarded:
            call = guard(self._controller, f"{self._prefix}.{name}", call)
        setattr(self, name, call)
        return call


class StorePort(Port):
    """A store and its rollouts."""

    def __init__(self, controller: "Controller", store: Any) -> None:
        super().__init__(controller, "store", store, _WRITES, _READS)
        self.rollouts = Port(
            controller, "rollouts", store.rollouts, _ROLLOUT_WRITES, _ROLLOUT_READS
        )
        self.tokens = Port(controller, "tokens", store.tokens, (), ("grants",))


class LinksPort(Port):
    """The lines to the gateways, as loop and executor see them."""

    def __init__(self, controller: "Controller", links: object) -> None:
        super().__init__(controller, "links", links, ("publish",), ("acknowledged", "highest"))


def engine_port(controller: "Controller", engine: object) -> Port:
    """An engine."""
    return Port(controller, "engine", engine, _ENGINE)


def guard(controller: "Controller", name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """``call`` with the world looking on."""
    world = controller.world
    monitor = world.monitor
    watched = monitor.watches(name)

    def noted(look: Callable[..., None], *seen: Any) -> None:
        try:
            look(*seen)
        except Exception as error:
            # A controller bears with what goes wrong in one action; whoever looks on must not.
            monitor.broken = monitor.broken or error
            raise

    def guarded(*args: Any, **kwargs: Any) -> Any:
        world.port_calls += 1
        number = world.port_calls
        if world.crash_at is not None and world.crash_at == (number, "before"):
            raise Crash(name)
        if world.interlude_at == number or world.interlude_on == name:
            world.interlude(controller)
        if not watched:
            result = call(*args, **kwargs)
        else:
            noted(monitor.before, controller, name, args, kwargs)
            result = call(*args, **kwargs)
            noted(monitor.after, controller, name, args, kwargs, result)
        if world.crash_at is not None and world.crash_at == (number, "after"):
            raise Crash(name)
        return result

    return guarded
