"""The guard: tokens in every form, rights by path, what the controller is told, limits, use."""

from base64 import b64encode
from typing import Any

import pytest

from serinus.access import EVERY, Grant, Right, digest_of, mint, token_id_of
from serinus.entities import RateLimit
from serinus.errors import PermissionDenied, RequestLimitExceeded, Unauthenticated
from serinus.gateway.access import OPEN, Guard
from serinus.gateway.hosts import Hosts
from serinus.traffic import EndpointRoutes, RouteTable

ADMIN, MAKER, ASKER, OTHER, GONE = (mint(bytes([n]) * 8, bytes([n]) * 32) for n in range(1, 6))

#: Every kind of path that a gateway knows, with what it asks of endpoint ``e``.
PATHS = {
    ("POST", "/serving-endpoints/e/invocations"): Right.QUERY,
    ("POST", "/serving-endpoints/e/served-models/m/invocations"): Right.QUERY,
    ("GET", "/serving-endpoints/e/invocations"): Right.QUERY,
    ("POST", "/serving-endpoints/e/anything"): Right.QUERY,
    ("POST", "/invocations"): Right.QUERY,
    ("POST", "/v2/models/e/infer"): Right.QUERY,
    ("POST", "/v2/models/e/versions/1/infer"): Right.QUERY,
    ("GET", "/v2/models/e"): Right.VIEW,
    ("GET", "/v2/models/e/ready"): Right.VIEW,
}
#: What none but an administrator may, known or not.
REST = [
    (method, path)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "X")
    for path in ("/", "/metrics", "/anything", "/v2/repository/index", "/serving-endpoints", "//")
]


def grant(token: str, name: str, **more: Any) -> Grant:
    return Grant(token_id_of(token) or "", name, digest_of(token), **more)


GRANTS = (
    grant(ADMIN, "root", admin=True),
    grant(MAKER, "maker", rights={"e": Right.MANAGE}),
    grant(ASKER, "asker", rights={"e": Right.QUERY}),
    grant(OTHER, "other", rights={"f": Right.MANAGE}),
)


class Gate:
    """A guard with a clock, and a way to ask it."""

    def __init__(self, *, required: bool = True, bound: str = "0.0.0.0", **more: Any) -> None:
        self.now = 1000.0
        self.guard = Guard(
            Hosts(bound, more.pop("hosts", ())),
            required=required,
            gateways=more.pop("gateways", 1),
            clock=lambda: self.now,
            wall=lambda: self.now,
        )
        self.learn(GRANTS, **more)

    def learn(self, grants: tuple[Grant, ...], limits: tuple[RateLimit, ...] = ()) -> None:
        endpoint = EndpointRoutes("e", (), default=True, limits=limits)
        self.guard.learn(RouteTable(1, (endpoint,), grants))

    def ask(
        self,
        token: str | None = None,
        path: str = "/serving-endpoints/e/invocations",
        method: str = "POST",
        **headers: str,
    ) -> dict[bytes, list[bytes]]:
        """The headers that the controller would get; raises what the guard raises."""
        sent = [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
        if token is not None:
            sent.append((b"authorization", f"Bearer {token}".encode()))
        scope: dict[str, Any] = {"path": path, "method": method, "headers": sent}
        self.guard.admit(scope)
        told: dict[bytes, list[bytes]] = {}
        for name, value in self.guard.passport(scope):
            told.setdefault(name, []).append(value)
        return told


@pytest.mark.parametrize(("method", "path"), [*PATHS, *REST, ("GET", "/api/2.0/anything")])
def test_nobody_comes_in_without_a_token(method: str, path: str) -> None:
    gate = Gate()
    for token in (None, "", "srn_", GONE, ASKER + "x", ASKER[:-1]):
        with pytest.raises(Unauthenticated):
            gate.ask(token, path, method)


@pytest.mark.parametrize(("method", "path"), [*PATHS, *REST])
def test_too_little_is_refused(method: str, path: str) -> None:
    gate = Gate()
    needed = PATHS.get((method, path), Right.MANAGE)
    for token, right in ((MAKER, Right.MANAGE), (ASKER, Right.QUERY), (OTHER, Right.NONE)):
        if (method, path) in PATHS and right >= needed:
            gate.ask(token, path, method)
        else:
            with pytest.raises(PermissionDenied):
                gate.ask(token, path, method)
    gate.ask(ADMIN, path, method)


def test_what_is_forbidden_looks_like_what_is_not_there() -> None:
    gate, said = Gate(), set()
    for name in ("e", "no-such-endpoint"):
        with pytest.raises(PermissionDenied) as refusal:
            gate.ask(OTHER, f"/serving-endpoints/{name}/invocations")
        said.add(str(refusal.value).replace(f"'{name}'", "NAME"))
    assert len(said) == 1


def test_the_open_paths_are_answered_to_anybody_under_any_name() -> None:
    gate = Gate(bound="127.0.0.1")
    for path in OPEN:
        gate.ask(None, path, "GET", host="evil.example")


def test_a_token_comes_as_bearer_or_basic() -> None:
    gate = Gate()
    basic = b64encode(f"token:{ASKER}".encode()).decode()
    for value in (f"Bearer {ASKER}", f"bearer  {ASKER} ", f"Basic {basic}", f"BASIC {basic}"):
        gate.ask(authorization=value)
    someone = b64encode(f"root:{ASKER}".encode()).decode()
    for value in (f"Basic {someone}", "Basic ?", f"Token {ASKER}", ASKER, f"Basic {ASKER}"):
        with pytest.raises(Unauthenticated):
            gate.ask(authorization=value)
    with pytest.raises(Unauthenticated):
        gate.ask(None, f"/serving-endpoints/e/invocations?token={ASKER}")


def test_a_known_id_with_another_secret_is_refused() -> None:
    forged = mint(bytes([1]) * 8, b"x" * 32)
    assert token_id_of(forged) == token_id_of(ADMIN)
    with pytest.raises(Unauthenticated):
        Gate().ask(forged)


def test_no_error_shows_what_was_sent() -> None:
    gate = Gate()
    for token in (GONE, OTHER, "hunter2"):
        with pytest.raises((Unauthenticated, PermissionDenied)) as refusal:
            gate.ask(token)
        assert token not in str(refusal.value)


def test_a_revoked_token_is_refused_from_the_next_table_on() -> None:
    gate = Gate()
    gate.ask(ASKER)
    gate.learn(GRANTS[:2])
    with pytest.raises(Unauthenticated):
        gate.ask(ASKER)
    gate.ask(MAKER)


def test_a_right_that_was_taken_away_is_gone_with_the_next_table() -> None:
    gate = Gate()
    gate.ask(ASKER)
    gate.learn((grant(ASKER, "asker", rights={"e": Right.VIEW}),))
    with pytest.raises(PermissionDenied, match="CAN_QUERY"):
        gate.ask(ASKER)


def test_a_token_ends_at_its_time_without_a_new_table() -> None:
    gate = Gate()
    gate.learn((grant(ASKER, "asker", expires_at=1010.0, rights={"e": Right.QUERY}),))
    gate.ask(ASKER)
    gate.now = 1010.0
    with pytest.raises(Unauthenticated, match="expired"):
        gate.ask(ASKER)


def test_the_controller_is_told_who_it_is_and_gets_no_token() -> None:
    told = Gate().ask(
        ASKER,
        "/api/2.0/serving-endpoints",
        "GET",
        cookie="session=1",
        x_serinus_caller="owner",
        x_serinus_actor="root",
        x_other="kept",
    )
    assert told[b"x-serinus-caller"] == [f"token {token_id_of(ASKER)}".encode()]
    assert told[b"x-serinus-actor"] == [b"asker"]
    assert told[b"x-other"] == [b"kept"]
    assert not {b"authorization", b"cookie"} & told.keys()


def test_an_open_server_lets_everybody_do_everything_and_knows_whom_it_can() -> None:
    gate = Gate(required=False)
    for method, path in (*PATHS, *REST):
        for token in (None, "any", GONE, OTHER, ASKER):
            gate.ask(token, path, method)
    told = gate.ask(None, "/api/x", "GET", x_serinus_caller="owner", x_serinus_actor="ann")
    assert told[b"x-serinus-caller"] == [b"open"]
    assert told[b"x-serinus-actor"] == [b"ann"]
    told = gate.ask(ASKER, "/api/x", "GET", x_serinus_actor="root")
    assert told[b"x-serinus-caller"][0].startswith(b"token ")
    assert told[b"x-serinus-actor"] == [b"asker"]


def test_the_name_of_a_token_names_the_caller() -> None:
    gate = Gate()
    headers = [(b"accept", b"*/*"), (b"authorization", f"Bearer {ASKER}".encode())]
    gate.guard.admit({"path": "/invocations", "method": "POST", "headers": headers})
    assert gate.guard.token_name(headers) == b"asker"
    assert gate.guard.token_name(headers[:1]) == b""


def test_uses_are_told_once_and_roughly() -> None:
    gate = Gate()
    assert gate.guard.uses() == {}
    gate.ask(ASKER)
    gate.now = 1030.0
    assert gate.guard.uses() == {token_id_of(ASKER): 1030.0}
    assert gate.guard.uses() == {}
    gate.ask(ASKER)
    gate.learn(GRANTS[:1])  # what was used before it was revoked is not forgotten
    assert gate.guard.uses() == {token_id_of(ASKER): 1030.0}


def test_limits_count_by_the_name_of_the_token() -> None:
    gate = Gate(limits=(RateLimit(2, "user"), RateLimit(3, "endpoint")))
    gate.ask(ASKER)
    gate.ask(ASKER)
    with pytest.raises(RequestLimitExceeded, match="asker") as refusal:
        gate.ask(ASKER)
    assert refusal.value.retry_after == 30
    gate.ask(MAKER)
    with pytest.raises(RequestLimitExceeded, match="3 a minute"):
        gate.ask(MAKER)
    gate.ask(MAKER, "/v2/models/e", "GET")  # no prediction, no count
    gate.now += 20.0
    gate.ask(MAKER)


def test_junk_does_not_fill_the_memory() -> None:
    gate = Gate(required=False)
    for number in range(5000):
        gate.ask(f"junk{number}")
    assert len(gate.guard._known) <= 4096


def test_an_administrator_needs_no_right_and_a_general_right_is_for_all() -> None:
    gate = Gate()
    gate.learn((grant(ASKER, "asker", rights={EVERY: Right.QUERY}), *GRANTS[:1]))
    gate.ask(ASKER, "/serving-endpoints/made-later/invocations")
    with pytest.raises(PermissionDenied):
        gate.ask(ASKER, "/anything", "GET")
