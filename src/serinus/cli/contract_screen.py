"""A contract and the differences of two, as tables for people and as one document for programs."""

from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table

from serinus.cli.output import stdout
from serinus.parity.contract import Field, Origin, Privacy
from serinus.parity.diff import Change, Severity
from serinus.parity.folder import Bundle

__all__ = ["as_document", "show_changes", "show_contract"]

_COLOURS = {
    Severity.BREAKING: "bold red",
    Severity.COMPATIBLE: "green",
    Severity.INFORMATIONAL: "dim",
}
_FEW = 5


def as_document(bundle: Bundle) -> dict[str, Any]:
    """The contract with its id, without rows and histograms."""
    return {"id": bundle.id, **msgspec.to_builtins(bundle.contract)}


def show_contract(bundle: Bundle) -> None:
    """The contract as tables."""
    contract, out = bundle.contract, stdout()
    derived = (
        "  [yellow]derived: nobody captured it[/]" if contract.origin is Origin.DERIVED else ""
    )
    out.print(f"contract [bold]{bundle.id[:12]}[/]{derived}")
    if contract.model.digest:
        out.print(f"of the model {contract.model.digest[:12]} ({escape(contract.model.flavor)})")
    if contract.training.rows:
        out.print(f"from {contract.training.rows} rows of {contract.training.columns} columns")
    table = Table("field", "type", "null", "declared", "observed", "weight", "privacy")
    for field in contract.fields:
        table.add_row(*map(escape, _field(field)))
    out.print(table)
    if contract.stages:
        out.print("stages: " + ", ".join(escape(each.name) for each in contract.stages))
    golden = contract.golden
    covered = ", ".join(
        f"{kind} {golden.covered.get(kind, 0)}/{wanted}" for kind, wanted in golden.wanted.items()
    )
    out.print(f"golden rows: {golden.rows}" + (f" ({covered})" if covered else ""))
    for each in contract.metrics:
        served = "-" if each.as_served is None else f"{each.as_served:.3f}"
        out.print(f"{escape(each.name)}: {each.offline:.3f} offline, {served} as served")
    for leak in contract.leaks:
        out.print(f"[bold red]{leak.kind}[/] {escape(leak.field)}: {escape(leak.detail)}")
    if contract.model.rows_independent is False:
        out.print("[bold red]rows sent together change each other's answers[/]")
    lock = bundle.lock
    out.print(f"environment: Python {lock.python}, {len(lock.distributions)} distributions")
    for sentence in contract.cannot:
        out.print(f"[yellow]![/] {escape(sentence)}", soft_wrap=True)


def _field(field: Field) -> tuple[str, ...]:
    observed = field.observed
    seen = []
    if observed.min is not None:
        seen.append(f"{_short(observed.min)} … {_short(observed.max)}")
    if observed.values is not None:
        few = ", ".join(observed.values[:_FEW])
        more = len(observed.values) - _FEW
        seen.append(few + (f" and {more} more" if more > 0 else ""))
    if observed.null_rate:
        seen.append(f"{observed.null_rate:.1%} null")
    declared = [
        f"{name} {value}"
        for name, value in msgspec.to_builtins(field.declared).items()
        if value is not None
    ]
    declared += [each for each in (field.unit, field.time.available_at, field.tz) if each]
    return (
        field.name,
        field.type.physical + ("" if field.required else "?"),
        field.null.policy if field.null.allowed else "no",
        ", ".join(declared) or "-",
        "; ".join(seen) or "-",
        "-" if field.importance is None else f"{field.importance:.3f}",
        "" if field.privacy is Privacy.PLAIN else field.privacy.value,
    )


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def show_changes(changes: list[Change]) -> None:
    """The changes as a table, the gravest first."""
    out = stdout()
    if not changes:
        out.print("no difference")
        return
    table = Table("clients", "where", "what", "old", "new", "why")
    for each in changes:
        table.add_row(
            f"[{_COLOURS[each.severity]}]{each.severity.value}[/]",
            *map(escape, (each.where, each.what, _cell(each.old), _cell(each.new), each.why)),
        )
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:_FEW]))
        return shown + (" …" if len(value) > _FEW else "")
    return _short(value)
