"""Follows a rollout until it is decided: a live picture on a terminal, else a line per change.

Writes to stderr only; what it returns is the result.
"""

import time
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from serinus.cli.output import Exit, note, stderr
from serinus.cli.rollout_lines import percent, spell, stands, step_of, waits, ways
from serinus.client import ServerUnreachable
from serinus.errors import DeadlineExceeded, TemporarilyUnavailable

if TYPE_CHECKING:
    from serinus.client import Client

__all__ = ["follow", "picture"]

_POLL_S = 0.5
_BAR = 40
_ENDS = {
    "SUCCEEDED": Exit.GOOD,
    "BAKING": Exit.GOOD,
    "ROLLED_BACK": Exit.FINDING,
    "FAILED": Exit.FINDING,
}
_COLOURS = {"SAFE": "green", "REGRESSED": "red", "INVALID": "red", "UNDECIDED": "yellow"}


def follow(
    client: "Client", endpoint: str, rollout_id: str, timeout_s: float
) -> tuple[Exit, dict[str, Any]]:
    """The exit code for how it ended, and the rollout as it was then.

    Raises ServerUnreachable, also when the server goes away while it is watched.
    """
    console = stderr()
    end = time.monotonic() + timeout_s
    live = Live(console=console, auto_refresh=False, transient=True)
    said = ""
    if console.is_terminal:
        live.start()
    try:
        while True:
            found = _look(client, endpoint, rollout_id)
            if console.is_terminal:
                live.update(picture(found), refresh=True)
            elif (line := _line(found)) != said:
                said = line
                note(line)
            code = _ENDS.get(found["phase"])
            if code is not None:
                return code, found
            if time.monotonic() >= end:
                return Exit.UNDECIDED, found
            time.sleep(min(_POLL_S, max(0.0, end - time.monotonic())))
    finally:
        live.stop()


def picture(found: dict[str, Any]) -> RenderableType:
    """The rollout at a glance."""
    weight = found["weight_bp"]
    filled = round(weight * _BAR / 10_000)
    filled = max(filled, 1) if weight else 0
    bar = Text.assemble(
        ("█" * filled, "green"),
        ("░" * (_BAR - filled), "dim"),
        f"  {found['candidate']} {percent(weight)}, {found['stable']} {percent(10_000 - weight)}",
    )
    age = found.get("stage_age_s")
    head = [f"{found['endpoint']}  {found['phase']}", step_of(found), f"stage {found['stage']}"]
    head.append("not in force yet" if age is None else f"for {spell(age)}")
    if found.get("shadow_bp"):
        head.append(f"copies of {percent(found['shadow_bp'])}")
    parts: list[RenderableType] = [
        Text("  ".join(filter(None, head)), style="bold"),
        bar,
        Text(waits(found)),
        Text(found["reason"], style="dim"),
    ]
    if on := ways(found):
        parts.append(Text(on))
    if found["guardrails"]:
        table = Table("guardrail", "verdict", "reason")
        for each in found["guardrails"]:
            colour = _COLOURS.get(each["verdict"], "dim")
            verdict = Text(each["verdict"], style=colour)
            table.add_row(each["name"], verdict, escape(each.get("reason") or ""))
        parts.append(table)
    return Group(*parts)


def _look(client: "Client", endpoint: str, rollout_id: str) -> dict[str, Any]:
    try:
        return client.rollout(endpoint, rollout_id)
    except (TemporarilyUnavailable, DeadlineExceeded) as error:
        # For whoever watches, a controller that stays away is a server that is gone.
        raise ServerUnreachable(error.message) from error


def _line(found: dict[str, Any]) -> str:
    verdicts = "  ".join(f"{each['name']} {each['verdict']}" for each in found["guardrails"])
    waiting = f"waits for {found['waiting_for']}"
    return "  ".join(filter(None, [stands(found), waiting, verdicts]))
