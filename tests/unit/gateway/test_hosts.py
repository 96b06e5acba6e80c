"""Names that a server is called by, and pages that may not change it."""

import pytest

from serinus.errors import PermissionDenied
from serinus.gateway.hosts import Hosts, is_loopback


def check(hosts: Hosts, host: str | None, origin: str | None = None, method: str = "POST") -> None:
    headers = {b"host": host, b"origin": origin}
    sent = {name: value.encode("latin-1") for name, value in headers.items() if value is not None}
    hosts.check(method, sent)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "me.example", None],
)
def test_names_of_the_machine_itself(host: str | None) -> None:
    hosts = Hosts("127.0.0.1", ["me.example", ""])
    for _ in range(2):
        check(hosts, host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"),
        *(
            "evil@127.0.0.2",
            "127.0.0.1:80@evil.example",
            "",
            "[",
            "\xff",
            "0.0.0.0",
            "127.0.0.1\t/",
        ),
    ],
)
def test_another_name_is_a_page_that_rebound_its_own(host: str) -> None:
    with pytest.raises(PermissionDenied, match="SERINUS_HOSTS"):
        check(Hosts("127.0.0.1"), host, method="GET")


def test_elsewhere_names_count_only_when_some_are_configured() -> None:
    check(Hosts("0.0.0.0"), "anything.example")
    with pytest.raises(PermissionDenied):
        check(Hosts("0.0.0.0", ["me.example"]), "anything.example")
    check(Hosts("10.0.0.5", ["me.example"]), "10.0.0.5:8080")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "ANYTHING"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://localhost:9999", "http://[", "x"]
)
def test_a_page_of_another_origin_may_change_nothing(method: str, origin: str) -> None:
    with pytest.raises(PermissionDenied, match="another origin"):
        check(Hosts("127.0.0.1"), "localhost:8080", origin, method)


def test_its_own_pages_and_those_configured_may() -> None:
    hosts = Hosts("127.0.0.1", ["ui.example"])
    check(hosts, "localhost:8080", "http://localhost:8080")
    check(hosts, "localhost:8080", "https://ui.example")
    check(hosts, "localhost:8080", "http://evil.example", "GET")


def test_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.1.2.3", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.com", ""]))
