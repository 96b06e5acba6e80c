"""Who is calling the control API, and may they: one layer before routing, so that nothing slips by.

Only gateways and the owner of the home reach the socket; a gateway says who called it, and lets
nobody else say so. It must never see a token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from serinus.access import EVERY, Grant, Right
from serinus.api.rights import BY_ID, Need, flat, need_of
from serinus.errors import PermissionDenied, Unauthenticated
from serinus.store.acts import Act, acting
from serinus.store.repository import Store

__all__ = ["ANONYMOUS", "Admission", "Caller", "caller_of"]

_CALLER = b"x-serinus-caller"
_ACTOR = b"x-serinus-actor"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UNKNOWN = Need(admin=True)
_LONGEST = 128
#: Until callers are known by a token, nobody is.
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks: with a token, as the owner of the home, or unknown where that is allowed."""

    name: str = ANONYMOUS
    grant: Grant | None = None
    #: May do all that nobody is asked a token for.
    trusted: bool = False
    owner: bool = False

    @property
    def admin(self) -> bool:
        """Whether there is nothing that it may not do."""
        return self.owner or self.trusted or (self.grant is not None and self.grant.admin)

    def right(self, endpoint: str) -> Right:
        """The right to the endpoint of that name."""
        if self.admin:
            return Right.MANAGE
        return Right.NONE if self.grant is None else self.grant.right(endpoint)

    def proved(self) -> "Caller":
        """The same without what is only allowed because nobody is asked."""
        return Caller(self.name, self.grant, trusted=False, owner=self.owner)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one route asks for."""

    path: str
    need: Need
    #: The endpoint's name, or its id where the need says so.
    on: str


class Admission:
    """ASGI middleware. ``required``: nobody comes in without a token."""

    def __init__(
        self, app: ASGIApp, *, store: Store, required: bool, clock: Callable[[], datetime]
    ) -> None:
        self._app = app
        self._store = store
        self._required = required
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the call in, or raise Unauthenticated or PermissionDenied."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = self._wanted(scope)
        if wanted and all(each.need.open for each in wanted):
            await self._app(scope, receive, send)
            return
        caller, endpoint = await run_in_threadpool(self._admit, scope, wanted)
        scope.setdefault("state", {})["caller"] = caller
        if scope["method"] in _SAFE or not all(each.need.recorded for each in wanted):
            await self._app(scope, receive, send)
            return
        path = wanted[0].path if wanted else scope["path"]
        token_id = caller.grant.token_id if caller.grant is not None else ""
        action = f"{scope['method']} {path}"
        with acting(Act(caller.name, action, self._clock(), endpoint, token_id)):
            await self._app(scope, receive, send)

    def _wanted(self, scope: Scope) -> list[_Wanted]:
        """What each route asks for that this could be: all of them must let it by."""
        found = []
        for route in flat(scope["app"].routes):
            match, child = route.matches(scope)
            if match is Match.FULL:
                need = need_of(scope["method"], route.path) or _UNKNOWN
                on = EVERY if need.on == EVERY else child.get("path_params", {}).get(need.on, "")
                found.append(_Wanted(route.path, need, str(on)))
        return found

    def _admit(self, scope: Scope, wanted: list[_Wanted]) -> tuple[Caller, str]:
        """Who it is, and the name of the endpoint that it is about."""
        caller = self._caller(scope)
        subject = ""
        for each in wanted:
            need, on = each.need, each.on
            endpoint = self._name_of(on) if need.on == BY_ID else on
            proved = caller.proved() if need.strict else caller
            if need.admin and not proved.admin:
                raise PermissionDenied(_ADMINISTRATORS if not need.strict else _STRICT)
            if proved.right(endpoint) < need.right:
                raise PermissionDenied(_lacking(need, on) if not caller.trusted else _STRICT)
            if need.right and endpoint != EVERY:
                subject = endpoint
        return caller, subject

    def _caller(self, scope: Scope) -> Caller:
        headers = dict(scope["headers"])
        kind, _, token_id = headers.get(_CALLER, b"").decode("latin-1").partition(" ")
        said = headers.get(_ACTOR, b"").decode("latin-1").strip()[:_LONGEST]
        name = said if said.isprintable() and said else ANONYMOUS
        if kind == "owner":
            return Caller(name, owner=True, trusted=True)
        if kind == "token":
            grant = self._grant(token_id)
            if grant is not None:
                return Caller(grant.name, grant, trusted=not self._required)
        if self._required:
            raise Unauthenticated("The token is unknown, revoked or expired; ask for a new one.")
        return Caller(name, trusted=True)

    def _grant(self, token_id: str) -> Grant | None:
        now = self._clock().timestamp()
        for grant in self._store.tokens.grants():
            if grant.token_id == token_id and not grant.expired(now):
                return grant
        return None

    def _name_of(self, endpoint_id: str) -> str:
        for endpoint in self._store.endpoints():
            if endpoint.id == endpoint_id:
                return endpoint.name
        return ""


def caller_of(scope: Scope) -> Caller:
    """Who was let in."""
    caller: Caller = scope.get("state", {}).get("caller") or Caller()
    return caller


_ADMINISTRATORS = "This call is for administrators."
_STRICT = (
    "Tokens and permissions outlast the time in which nobody is asked for a token, so this needs "
    "one also now: use an administrator's token, or `serinus token` on the server's own machine."
)


def _lacking(need: Need, on: str) -> str:
    # The same for an endpoint that is not there: nobody learns names by trying.
    if on == EVERY:
        return f"The token does not have {need.right.level} on all endpoints."
    return f"The token does not have {need.right.level} on endpoint '{on[:80]}', if there is one."
