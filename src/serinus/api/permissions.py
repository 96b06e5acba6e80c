"""The permissions of an endpoint, by its id, as clients of the original service speak of them.

A user there is the name of a token here; there are no groups but ``admins``.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from serinus.access import EVERY, Grant, Right
from serinus.api.access_shapes import LevelsReply, MeReply, PermissionsReply
from serinus.api.admission import caller_of
from serinus.api.answers import json_answer
from serinus.api.schemas import AccessControl, AccessControlList
from serinus.api.settling import Settling
from serinus.entities import Endpoint
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist
from serinus.store.repository import Store

__all__ = ["Permissions", "permission_level"]

_PATH = "/api/2.0/permissions/serving-endpoints/{endpoint_id}"
_ALL = "/serving-endpoints/"
_LEVELS = {right.level: right for right in Right if right}
_ABOUT = {
    Right.VIEW: "Can view the endpoint, its config and how it is doing",
    Right.QUERY: "Can view the endpoint and ask it for predictions",
    Right.MANAGE: "Can view, query, change and delete the endpoint, and say who may",
}


def permission_level(endpoint: str, request: Request) -> str:
    """The caller's own level, as replies show it; empty for none."""
    return caller_of(request.scope).right(endpoint).level


class Permissions:
    """Handlers over one store."""

    def __init__(self, store: Store, settling: Settling) -> None:
        self._store = store
        self._settling = settling

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["permissions"])
        router.add_api_route(_PATH, self.get, methods=["GET"], response_model=PermissionsReply)
        router.add_api_route(_PATH, self.set, methods=["PUT"], response_model=PermissionsReply)
        router.add_api_route(_PATH, self.update, methods=["PATCH"], response_model=PermissionsReply)
        router.add_api_route(
            f"{_PATH}/permissionLevels", self.levels, methods=["GET"], response_model=LevelsReply
        )
        me = "/api/2.0/preview/scim/v2/Me"
        router.add_api_route(me, self.me, methods=["GET"], response_model=MeReply)
        return router

    def get(self, endpoint_id: str) -> Response:
        """Who may do what to the endpoint."""
        return self._reply(self._endpoint(endpoint_id))

    def set(self, endpoint_id: str, wanted: AccessControlList) -> Response:
        """Give these rights, and no others but those to all endpoints."""
        return self._change(endpoint_id, wanted, replace=True)

    def update(self, endpoint_id: str, wanted: AccessControlList) -> Response:
        """Give these rights; those of names that are not mentioned stay."""
        return self._change(endpoint_id, wanted, replace=False)

    def levels(self, endpoint_id: str) -> Response:
        """Which levels there are."""
        self._endpoint(endpoint_id)
        levels = [
            {"permission_level": right.level, "description": about}
            for right, about in _ABOUT.items()
        ]
        return json_answer({"permission_levels": levels})

    def me(self, request: Request) -> Response:
        """Who the caller is."""
        caller = caller_of(request.scope)
        groups = [{"display": "admins", "value": "admins"}] if caller.admin else []
        return json_answer(
            {
                "id": caller.grant.token_id if caller.grant else caller.name,
                "userName": caller.name,
                "displayName": caller.name,
                "active": True,
                "groups": groups,
            }
        )

    def _change(self, endpoint_id: str, wanted: AccessControlList, *, replace: bool) -> Response:
        endpoint = self._endpoint(endpoint_id)
        rights: dict[str, Right] = {}
        for each in wanted.access_control_list:
            if each.group_name == "admins" and each.permission_level == Right.MANAGE.level:
                continue  # they may anyway, and clients send back what they were shown
            right = _LEVELS[each.permission_level]
            name = _principal(each)
            rights[name] = max(right, rights.get(name, Right.NONE))
        self._store.tokens.set_rights(endpoint.name, rights, replace=replace)
        self._settling.wait()
        return self._reply(endpoint)

    def _endpoint(self, endpoint_id: str) -> Endpoint:
        for endpoint in self._store.endpoints():
            if endpoint.id == endpoint_id:
                return endpoint
        raise ResourceDoesNotExist(f"There is no serving endpoint with the id {endpoint_id[:80]}.")

    def _reply(self, endpoint: Endpoint) -> Response:
        grants = sorted(self._store.tokens.grants(), key=lambda grant: grant.name)
        entries = [_entry(grant, endpoint.name) for grant in grants if not grant.admin]
        shown: list[dict[str, Any]] = [entry for entry in entries if entry["all_permissions"]]
        shown.append({"group_name": "admins", "all_permissions": [_level(Right.MANAGE, True)]})
        return json_answer(
            {
                "object_id": f"{_ALL}{endpoint.id}",
                "object_type": "serving-endpoint",
                "access_control_list": shown,
            }
        )


def _entry(grant: Grant, endpoint: str) -> dict[str, Any]:
    levels = []
    if own := grant.rights.get(endpoint):
        levels.append(_level(own, False))
    if general := grant.rights.get(EVERY):
        levels.append(_level(general, True))
    return {"user_name": grant.name, "display_name": grant.name, "all_permissions": levels}


def _level(right: Right, inherited: bool) -> dict[str, Any]:
    level: dict[str, Any] = {"permission_level": right.level, "inherited": inherited}
    if inherited:
        level["inherited_from_object"] = [_ALL]
    return level


def _principal(wanted: AccessControl) -> str:
    if wanted.user_name:
        return wanted.user_name
    raise InvalidParameterValue(
        "access_control_list: Serinus knows tokens by their names and has no groups but admins. "
        "Give the token's name as user_name."
    )
