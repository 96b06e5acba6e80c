"""A diagnosis as text for a person. Decides nothing."""

from typing import Any

from rich.markup import escape

from serinus.cli.output import stdout

__all__ = ["show"]

_COLOURS = {"healthy": "green", "inconclusive": "yellow", "drift": "cyan"}
_MOST = 3


def show(found: dict[str, Any]) -> None:
    """Verdict, where, since when, share, evidence, what is excluded, what to do, what not to do."""
    colour = _COLOURS.get(found["verdict"], "bold red")
    _line(
        f"[{colour}]{escape(found['detail'])}[/] ({found['confidence']}), "
        f"{escape(found['endpoint'])}, version {escape(found['version'])}, {found['rows']:,} rows"
    )
    _fact("where", found["locus"])
    _fact("fields", ", ".join(found["features"]))
    _fact("since", found["since"] and f"{found['since']}{_event(found)}")
    _fact("share", "" if found["share"] is None else f"{found['share']:.1%} of rows")
    for number, finding in enumerate(found["findings"], start=1):
        _finding(number, finding)
    _list("excluded", [f"{each['class']}: {each['test']}" for each in found["excluded"]])
    _list("missing", found["missing"])
    _list("notes", found["notes"])
    _list("next", found["next"])
    _list("do not", found["do_not"])


def _finding(number: int, finding: dict[str, Any]) -> None:
    pattern = f", {finding['pattern']}" if finding["pattern"] else ""
    who = f" from {', '.join(finding['callers'])}" if finding["callers"] else ""
    _line(
        f"\n{number}. [bold]{escape(finding['detail'])}[/] ({finding['confidence']})"
        f"{escape(pattern)}{escape(who)}"
    )
    for each in finding["evidence"]:
        rows = each.get("rows") or []
        more = f" (rows {', '.join(rows[:_MOST])})" if rows else ""
        _line(f"   - {escape(each['text'])}{escape(more)}")


def _event(found: dict[str, Any]) -> str:
    return f" ({found['event']})" if found["event"] else ""


def _fact(name: str, value: str | None) -> None:
    if value:
        _line(f"  {name:8}{escape(value)}")


def _list(name: str, sentences: list[str]) -> None:
    if sentences:
        _line(f"\n{name}:")
    for each in sentences:
        _line(f"   - {escape(each)}")


def _line(text: str) -> None:
    stdout().print(text, soft_wrap=True)
