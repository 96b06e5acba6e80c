"""``serinus apply``: sends what files ask for. Every file is checked whole before any is sent."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, connected
from serinus.cli.documents import check, documents_in
from serinus.cli.endpoint_documents import checked_endpoint
from serinus.cli.output import Output, OutputOption, show_json, stdout
from serinus.errors import ResourceDoesNotExist

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = ["apply"]

_KINDS = ("Endpoint", "Rollout")
#: Given to the server whole when an endpoint is made.
_BODY = ("description", "rate_limits", "ai_gateway", "email_notifications")


def apply(
    file: Annotated[
        list[Path],
        typer.Option("--file", "-f", help="YAML or JSON; - reads standard input; repeat for more"),
    ],
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="go on as soon as an endpoint's config is accepted")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="seconds to wait for each endpoint")
    ] = 1200.0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make endpoints as files describe them, and start the rollouts that they ask for, in order."""
    documents = [each for path in file for each in _checked(path)]
    endpoints: list[dict[str, Any]] = []
    rollouts: list[dict[str, Any]] = []
    with connected(server, token) as client:
        for each in documents:
            if each["kind"] == "Rollout":
                started = client.start_rollout(each["endpoint"], each)
                rollouts.append(started)
                told = f"rollout {started['id']} of {started['endpoint']}: {started['phase']}"
            else:
                changed = _apply(client, each)
                if not no_wait:
                    _wait(client, each["name"], timeout)
                endpoints.append({"name": each["name"], "changed": changed})
                told = f"endpoint {each['name']}: {', '.join(changed) or 'unchanged'}"
            if output is Output.TABLE:
                stdout().print(told, markup=False, soft_wrap=True)
    if output is Output.JSON:
        show_json({"endpoints": endpoints, "rollouts": rollouts})


def _checked(path: Path) -> list[dict[str, Any]]:
    found = []
    for number, each in enumerate(documents_in(path), 1):
        what = f"{path}, document {number}"
        if each.get("kind") not in _KINDS:
            raise typer.BadParameter(
                f"{what}: kind is {each.get('kind')!r}; known are {', '.join(_KINDS)}"
            )
        found.append(
            checked_endpoint(each, what) if each["kind"] == "Endpoint" else _rollout(each, what)
        )
    return found


def _rollout(document: dict[str, Any], what: str) -> dict[str, Any]:
    if not isinstance(document.get("endpoint"), str) or not document["endpoint"]:
        raise typer.BadParameter(f"{what}: endpoint is missing; name the one to roll out on")
    if "candidate" not in document:
        raise typer.BadParameter(f"{what}: candidate is missing; write a model URI")
    check(document, what)
    return document


def _apply(client: "Client", wanted: Mapping[str, Any]) -> list[str]:
    """Have the endpoint be as the document says; what of it had to be changed."""
    name = wanted["name"]
    tags = {each["key"]: each.get("value", "") for each in wanted.get("tags", ())}
    try:
        before = client.endpoint(name)
    except ResourceDoesNotExist:
        more = {key: wanted[key] for key in _BODY if key in wanted}
        client.create(name, wanted["config"], tags=tags, **more)
        return ["created", *_policy(client, name, wanted)]
    if wanted.get("description", before.get("description")) != before.get("description"):
        raise typer.BadParameter(
            f"the description of endpoint {name!r} can't be changed; it is given when it is made"
        )
    changed = []
    after = client.update_config(name, wanted["config"], unless_same=True)
    if _version(after) != _version(before):
        changed.append("config")
    had = {each["key"]: each["value"] for each in before.get("tags") or []}
    if "tags" in wanted and tags != had:
        added = {key: value for key, value in tags.items() if had.get(key) != value}
        client.change_tags(name, added, had.keys() - tags.keys())
        changed.append("tags")
    return changed + _limits(client, before, wanted) + _policy(client, name, wanted)


def _limits(client: "Client", before: dict[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Of what is not named in the document nothing is changed."""
    if "rate_limits" not in wanted:
        return []
    had = [_limit(each) for each in (before.get("ai_gateway") or {}).get("rate_limits") or []]
    if [_limit(each) for each in wanted["rate_limits"] or []] == had:
        return []
    client.set_rate_limits(wanted["name"], wanted["rate_limits"] or [])
    return ["rate limits"]


def _limit(limit: Mapping[str, Any]) -> tuple[Any, ...]:
    return limit.get("calls"), limit.get("key") or "endpoint", limit.get("principal") or ""


def _policy(client: "Client", name: str, wanted: Mapping[str, Any]) -> list[str]:
    if "policy" not in wanted:
        return []
    before = client.policy(name)
    return [] if client.set_policy(name, wanted["policy"] or {}) == before else ["policy"]


def _version(endpoint: dict[str, Any]) -> int:
    """The newest config version that the endpoint shows."""
    configs = (endpoint.get("pending_config"), endpoint.get("config"))
    return max((each.get("config_version", 0) for each in configs if each), default=0)


def _wait(client: "Client", name: str, timeout_s: float) -> None:
    # Rich's progress bars would slow the start of every other command.
    from serinus.cli.waiting import Waiting  # noqa: PLC0415

    with Waiting() as waiting:
        client.wait_until_updated(name, timeout_s=timeout_s, on_progress=waiting.see)
