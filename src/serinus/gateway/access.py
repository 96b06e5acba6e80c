"""The gateway's guard: who is calling, and may they. Before routing, so that no path can forget it.

A path that is not known here is for administrators alone. It must never keep, log or show a token.
"""

import hmac
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from serinus.access import EVERY, Grant, Right, digest_of, token_id_of
from serinus.errors import PermissionDenied, Unauthenticated
from serinus.gateway.heads import NOTES
from serinus.gateway.hosts import Hosts
from serinus.gateway.limits import EndpointLimits, Limits
from serinus.traffic import RouteTable

__all__ = ["CALLER", "OPEN", "Guard", "Holder", "wanted"]

Scope = MutableMapping[str, Any]
Header = tuple[bytes, bytes]

#: Answered to anybody: they say nothing but that the server is there, and clients need them first.
OPEN = frozenset(
    {"/health", "/ping", "/.well-known/databricks-config", "/v2/health/live", "/v2/health/ready"}
)
#: By which header the controller learns who called. Only a gateway may say it.
CALLER = b"x-serinus-caller"
_ACTOR = b"x-serinus-actor"
_AUTHORIZATION = b"authorization"
# The controller needs no token, and its log must not have one.
_KEPT_BACK = frozenset({b"authorization", b"cookie", b"proxy-authorization", CALLER})
#: Header values that are remembered with who presented them.
_MOST_KNOWN = 4096
#: For the time it takes to find that nobody has such a token.
_NOBODY = digest_of("")


class Holder:
    """Whoever presents a token, or nobody in particular. One per token and table."""

    __slots__ = (
        "_general",
        "_rights",
        "admin",
        "expires_at",
        "name",
        "passport",
        "token_id",
        "used",
    )

    def __init__(self, grant: Grant | None, *, trusted: bool = False) -> None:
        """``trusted``: on a server that asks nobody who they are."""
        self.name = grant.name if grant else ""
        self.token_id = grant.token_id if grant else ""
        self.admin = trusted or (grant is not None and grant.admin)
        self.expires_at = grant.expires_at if grant else None
        self._rights: Mapping[str, Right] = grant.rights if grant else {}
        self._general = Right.MANAGE if self.admin else self._rights.get(EVERY, Right.NONE)
        self.passport = f"token {self.token_id}".encode() if grant else b"open"
        #: Since it was last asked for.
        self.used = False

    def right(self, endpoint: str) -> Right:
        """The right to the endpoint of that name, whether there is one or not."""
        general = self._general
        if general is Right.MANAGE:
            return general
        return max(general, self._rights.get(endpoint, Right.NONE))


class Guard:
    """Lets a request in, or raises. ``wall`` is seconds since the epoch, ``clock`` monotonic.

    ``required``: nobody comes in without a token. ``gateways``: how many share a rate limit.
    """

    def __init__(
        self,
        hosts: Hosts,
        *,
        required: bool,
        gateways: int,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._hosts = hosts
        self._required = required
        self._wall = wall
        self._rates = Limits(gateways, clock)
        self._limits: Mapping[str, EndpointLimits] = {}
        self._grants: tuple[Grant, ...] | None = None
        self._digests: dict[str, tuple[str, Holder]] = {}
        self._known: dict[bytes | None, Holder] = {}
        self._default = ""
        self._uses: dict[str, float] = {}
        self._learn_grants(())

    def learn(self, table: RouteTable) -> None:
        """Go by the tokens and limits of this table from now on."""
        self._limits = self._rates.learn(table.endpoints)
        self._default = next((each.name for each in table.endpoints if each.default), "")
        if table.grants != self._grants:
            self._learn_grants(table.grants)

    def _learn_grants(self, grants: tuple[Grant, ...]) -> None:
        self._note_uses()
        self._grants = grants
        self._digests = {
            grant.token_id: (grant.digest, Holder(grant, trusted=not self._required))
            for grant in grants
        }
        self._known = {}

    def admit(self, scope: Scope) -> None:
        """Raise Unauthenticated, PermissionDenied or RequestLimitExceeded; else note who it is."""
        path: str = scope["path"]
        if path in OPEN:
            return
        notes = scope.get(NOTES)
        authorization = None if notes is None else notes.get(_AUTHORIZATION)
        if authorization is None:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            self._hosts.check(scope["method"], headers)
            authorization = (headers.get(_AUTHORIZATION),)
            if notes is not None:
                notes[_AUTHORIZATION] = authorization
        holder = self._holder(*authorization)
        endpoint, needed = wanted(path, scope["method"])
        if endpoint is None:
            endpoint = self._default
        if holder.right(endpoint) < needed or (not endpoint and needed and not holder.admin):
            raise _forbidden(endpoint, needed)
        if needed is Right.QUERY:
            limits = self._limits.get(endpoint)
            if limits is not None:
                limits.take(holder.name)
        scope["serinus.holder"] = holder

    def passport(self, scope: Scope) -> list[Header]:
        """The request's headers as the controller is to see them."""
        holder: Holder = scope.get("serinus.holder") or Holder(None)
        said = _KEPT_BACK | {_ACTOR} if self._required or holder.name else _KEPT_BACK
        headers = [header for header in scope["headers"] if header[0] not in said]
        headers.append((CALLER, holder.passport))
        if holder.name:
            headers.append((_ACTOR, holder.name.encode()))
        return headers

    def token_name(self, headers: Iterable[Header]) -> bytes:
        """The name of the token that a request came with; empty for none."""
        if not self._digests:
            return b""
        for name, value in headers:
            if name == _AUTHORIZATION:
                holder = self._known.get(value)
                return b"" if holder is None else holder.name.encode()
        return b""

    def uses(self) -> dict[str, float]:
        """When each token was last used, as far as nobody was told yet; now nobody need be."""
        self._note_uses()
        uses, self._uses = self._uses, {}
        return uses

    def _note_uses(self) -> None:
        now = self._wall()
        for token_id, (_, holder) in self._digests.items():
            if holder.used:
                holder.used = False
                self._uses[token_id] = now

    def _holder(self, authorization: bytes | None) -> Holder:
        holder = self._known.get(authorization)
        if holder is None:
            holder = self._find(authorization)
        if holder.expires_at is not None and self._wall() >= holder.expires_at:
            if self._required:
                raise _stale()
            return Holder(None, trusted=True)
        holder.used = True
        return holder

    def _find(self, authorization: bytes | None) -> Holder:
        holder = None if authorization is None else self._prove(authorization)
        if holder is None:
            if self._required:
                raise _stale() if authorization else _missing()
            holder = Holder(None, trusted=True)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[authorization] = holder
        return holder

    def _prove(self, authorization: bytes) -> Holder | None:
        token = _token_in(authorization)
        token_id = token_id_of(token)
        digest, holder = self._digests.get(token_id or "", (_NOBODY, None))
        proved = hmac.compare_digest(digest_of(token), digest)
        return holder if proved else None


@lru_cache(256)
def wanted(path: str, method: str) -> tuple[str | None, Right]:
    """Whose right a path needs, and which; None is the default endpoint, empty no endpoint's.

    The control API is let through: the controller knows its routes, and asks for the right of each.
    """
    match path.split("/"):
        case ["", "serving-endpoints", name, *_]:
            return name, Right.QUERY
        case ["", "invocations"]:
            return None, Right.QUERY
        case ["", "v2", "models", name, *_]:
            return name, Right.QUERY if method == "POST" else Right.VIEW
        case ["", "metrics"]:
            return EVERY, Right.VIEW
        case ["", "api", *_] | ["", "version"] | ["", "v2"]:
            return "", Right.NONE
        case _:
            return "", Right.MANAGE


def _token_in(authorization: bytes) -> str:
    """The token of ``Bearer <token>`` or of ``Basic token:<token>``; empty when there is none."""
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip().decode("latin-1")
    if scheme.lower() == b"basic":
        try:
            user, _, password = b64decode(value.strip(), validate=True).partition(b":")
        except NotBase64:
            return ""
        return password.decode("latin-1") if user == b"token" else ""
    return ""


def _missing() -> Unauthenticated:
    return Unauthenticated(
        "This server asks for a token: send it as 'Authorization: Bearer TOKEN'. "
        "An administrator makes one with `serinus token create`."
    )


def _stale() -> Unauthenticated:
    return Unauthenticated("The token is unknown, revoked or expired; ask for a new one.")


def _forbidden(endpoint: str, needed: Right) -> PermissionDenied:
    # The same for an endpoint that is not there: nobody learns names by trying.
    if not endpoint:
        return PermissionDenied("This call is for administrators.")
    return PermissionDenied(
        f"The token does not have {needed.level} on endpoint '{endpoint}', if there is one."
    )
