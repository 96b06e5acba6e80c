"""Calls about tokens, rights and the record of changes."""

from collections.abc import Iterable
from urllib.parse import quote, urlencode

from serinus.client.wire import Json, Wire

__all__ = ["AccessCalls"]

_TOKENS = "/api/serinus/v1/tokens"
_AUDIT = "/api/serinus/v1/audit"


class AccessCalls(Wire):
    """See `serinus.client.Client`."""

    def create_token(
        self,
        name: str,
        can: Iterable[str] = (),
        *,
        admin: bool = False,
        expires_in_s: float | None = None,
    ) -> Json:
        """Make a token that may do ``can`` (``query:flight-delay``); only this answer shows it."""
        body: Json = {"name": name, "can": list(can), "admin": admin, "expires_in_s": expires_in_s}
        # Never by itself again: the first one may have been made, and nobody would have it.
        return self._json("POST", _TOKENS, body, once=True)

    def tokens(self) -> list[Json]:
        """Every token in force, without the tokens themselves."""
        return list(self._json("GET", _TOKENS).get("tokens") or [])

    def revoke_token(self, name: str) -> Json:
        """End a token; ``in_force`` says whether every gateway refuses it already."""
        return self._json("DELETE", f"{_TOKENS}/{quote(name, safe='')}")

    def audit(
        self, *, endpoint: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[Json]:
        """Who changed what, the newest first."""
        asked = {"endpoint": endpoint, "before": before, "limit": limit}
        wanted = urlencode({key: value for key, value in asked.items() if value is not None})
        return list(self._json("GET", f"{_AUDIT}?{wanted}").get("entries") or [])

    def check_audit(self) -> Json:
        """Whether the record of changes is ``whole``, and the hash that is its ``head``."""
        return self._json("GET", f"{_AUDIT}/check")
