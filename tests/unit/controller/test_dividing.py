"""How gateways divide requests: the newest that each told, and a moment for those that are late."""

from collections.abc import Collection

from serinus.controller.dividing import Dividing, settled
from serinus.evidence.meter import Counts
from serinus.evidence.routed import Routed


class Ears:
    """Hears the same."""

    def __init__(self) -> None:
        self.heard: list[Counts] = []
        self.gone_gateways: list[tuple[str, str]] = []

    def take(self, counts: Counts) -> None:
        self.heard.append(counts)

    def gone(self, gateway: tuple[str, str]) -> None:
        self.gone_gateways.append(gateway)

    def keep(self, endpoints: Collection[str]) -> None:
        """Nothing is kept here."""


def _told(gateway: str, **chosen: int) -> Counts:
    weights = {"one": 9000, "two": 1000}
    return Counts(gateway, "i", False, [], [Routed("e", weights, chosen), Routed("f", {"x": 1})])


def test_the_newest_of_each_gateway_that_is_there() -> None:
    ears = Ears()
    dividing = Dividing(ears)
    dividing.take(_told("g0", one=5))
    dividing.take(_told("g0", one=90, two=10))
    dividing.take(_told("g1", two=1))
    assert dividing.of("e") == {
        "g0": {"one": (9000, 90), "two": (1000, 10)},
        "g1": {"one": (9000, 0), "two": (1000, 1)},
    }
    dividing.gone(("g0", "i"))
    assert set(dividing.of("e")) == {"g1"}
    assert dividing.of("nobody") == {}
    assert (len(ears.heard), ears.gone_gateways) == (3, [("g0", "i")])


def test_a_gateway_about_to_acknowledge_is_waited_for_and_a_late_one_is_not() -> None:
    serving, waits = {"g0": 6, "g1": 7}, list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        serving["g0"] = 7

    assert settled(lambda: (7, dict(serving)), wait) == (7, {"g0": 7, "g1": 7})
    assert len(waits) == 1
    late = settled(lambda: (8, {"g0": 7}), waits.append)
    assert late == (8, {"g0": 7})
    assert sum(waits) < 6


def test_gateways_are_not_late_where_routes_change_all_the_time() -> None:
    published = iter(range(7, 100))

    def look() -> tuple[int, dict[str, int]]:
        newest = next(published)
        return newest, {"g0": newest - 1}

    newest, serving = settled(look, lambda seconds: None)
    assert newest == 7
    assert serving["g0"] >= newest
