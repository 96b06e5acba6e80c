"""What calls about tokens, rights and the audit answer, for the OpenAPI document; see `shapes`.

Fields may be added to these; those that are here stay.
"""

from typing import Any, Literal

from serinus.api.rollout_shapes import OpenShape, Rfc3339

__all__ = [
    "AuditChecked",
    "AuditPage",
    "LevelsReply",
    "MadeToken",
    "MeReply",
    "PermissionsReply",
    "RateLimitsReply",
    "RevokedToken",
    "TokenPage",
]

Level = Literal["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


class _Token(OpenShape):
    id: str
    name: str
    admin: bool
    can: list[str]
    created_at: Rfc3339
    created_by: str
    expires_at: Rfc3339 | None
    used_at: Rfc3339 | None


class TokenPage(OpenShape):
    """Every token that is not revoked, without the tokens themselves."""

    tokens: list[_Token]


class MadeToken(_Token):
    """A new token, shown this once; ``in_force``: every gateway knows it."""

    token: str
    in_force: bool


class RevokedToken(OpenShape):
    """``in_force``: every gateway refuses it."""

    name: str
    in_force: bool


class _Permission(OpenShape):
    permission_level: Level
    inherited: bool
    inherited_from_object: list[str] | None = None


class _Principal(OpenShape):
    user_name: str | None = None
    group_name: str | None = None
    display_name: str | None = None
    all_permissions: list[_Permission]


class PermissionsReply(OpenShape):
    """Who may do what to an endpoint."""

    object_id: str
    object_type: Literal["serving-endpoint"]
    access_control_list: list[_Principal]


class _About(OpenShape):
    permission_level: Level
    description: str


class LevelsReply(OpenShape):
    """Which levels there are."""

    permission_levels: list[_About]


class _Group(OpenShape):
    display: str
    value: str


class MeReply(OpenShape):
    """Who the caller is."""

    id: str
    # As the wire has them.
    userName: str  # noqa: N815
    displayName: str  # noqa: N815
    active: bool
    groups: list[_Group]


class _RateLimit(OpenShape):
    calls: int
    key: Literal["endpoint", "user"]
    renewal_period: Literal["minute"]
    principal: str | None = None


class RateLimitsReply(OpenShape):
    """The limits in force."""

    rate_limits: list[_RateLimit]


class _Change(OpenShape):
    id: int
    at: Rfc3339
    actor: str
    token_id: str | None
    action: str
    endpoint: str | None
    before: Any
    after: Any
    hash: str


class AuditPage(OpenShape):
    """Who changed what, the newest first."""

    entries: list[_Change]


class AuditChecked(OpenShape):
    """Whether the record is whole."""

    whole: bool
    entries: int
    head: str
    broken_at: int | None
