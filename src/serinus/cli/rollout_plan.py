"""``serinus rollout plan``: what a rollout may be expected to take, worked out on the spot."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, connected
from serinus.cli.output import Output, OutputOption, show_json, stdout
from serinus.cli.rollout_lines import percent
from serinus.cli.rollout_options import SpecOption, StepsOption, StrategyOption, spec_of
from serinus.errors import SerinusError
from serinus.rollout.default import over_default

if TYPE_CHECKING:
    from serinus.rollout.forecast import Estimate
    from serinus.rollout.spec import RolloutSpec

__all__ = ["plan"]

#: A plan is of traffic, not of a model.
_ANY_MODEL = "models:/any/1"
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def plan(
    rate: Annotated[float, typer.Option(min=1e-6, help="requests per second", show_default=False)],
    endpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="ENDPOINT", help="plan over this endpoint's policy", show_default=False
        ),
    ] = None,
    base_error: Annotated[
        str, typer.Option(metavar="SHARE", help="requests that fail today, e.g. 0.5%")
    ] = "0%",
    bad_error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE", help="a bad version's failures; repeat for more", show_default=False
        ),
    ] = None,
    spread: Annotated[
        float, typer.Option(min=0.01, help="spread of the logarithm of the latency")
    ] = 0.6,
    one_version: Annotated[
        bool, typer.Option("--one-version", help="users must never see two versions")
    ] = False,
    file: SpecOption = None,
    strategy: StrategyOption = None,
    steps: StepsOption = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """How long a rollout will take, and how many a bad version meets; offline without ENDPOINT."""
    # numpy, which no other command of this group needs.
    from serinus.evidence.expectations import Traffic  # noqa: PLC0415
    from serinus.rollout.forecast import estimate  # noqa: PLC0415

    wanted = spec_of(file, strategy, steps)
    if endpoint is not None:
        wanted = over_default(_policy(server, token, endpoint), wanted)
    spec = _spec(wanted)
    found = estimate(
        spec,
        Traffic(rate, _share(base_error, "--base-error"), spread),
        mixed_versions=not one_version,
        bad_rates=[_share(each, "--bad-error") for each in bad_error or ()],
    )
    if output is Output.JSON:
        show_json(_document(spec, found))
    else:
        _show(spec, found)


def _policy(server: str, token: str | None, endpoint: str) -> dict[str, Any]:
    with connected(server, token) as client:
        return client.policy(endpoint).get("rollout") or {}


def _spec(wanted: dict[str, Any]) -> "RolloutSpec":
    # Its parser costs every other command some milliseconds.
    from serinus.rollout.parse import parse_spec  # noqa: PLC0415

    try:
        return parse_spec({"candidate": _ANY_MODEL, **wanted})
    except SerinusError as error:
        raise typer.BadParameter(error.message) from error


def _share(text: str, option: str) -> float:
    from serinus.rollout.amount import read_fraction  # noqa: PLC0415 - as above

    try:
        share = 1.0 if text.strip() == "100%" else read_fraction(text, option)
    except SerinusError as error:
        raise typer.BadParameter(error.message) from error
    if share > 1:
        raise typer.BadParameter(f"{option} is {text}; no more than 100% of requests can fail")
    return share


def _document(spec: "RolloutSpec", found: "Estimate") -> dict[str, Any]:
    """Times and numbers that never come are null."""
    return {
        "strategy": spec.strategy.value,
        "suggested": {"strategy": found.suggested.value, "why": found.why},
        "seconds": _finite(found.seconds),
        "exposed_requests": _finite(found.exposed),
        "steps": [
            {
                "weight_bp": each.weight_bp,
                "seconds": _finite(each.seconds),
                "candidate_requests": _finite(each.candidate_requests),
                "waits_for": each.waits_for,
            }
            for each in found.steps
        ],
        "bad_versions": [
            {
                "error_rate": each.error_rate,
                "weight_bp": each.weight_bp,
                "seconds": _finite(each.seconds),
                "requests_met": _finite(each.met),
                "requests_failed": _finite(each.failed),
            }
            for each in found.detections
        ],
        "notes": list(found.notes),
    }


def _show(spec: "RolloutSpec", found: "Estimate") -> None:
    out = stdout()
    table = Table("step", "candidate", "lasts", "its requests", "waits for")
    for number, each in enumerate(found.steps, start=1):
        share = percent(each.weight_bp) if each.weight_bp else "-"
        row = (str(number), share, _spell(each.seconds), _count(each.candidate_requests))
        table.add_row(*row, escape(each.waits_for))
    if found.steps:
        out.print(table)
    # Where a shadow is over, a person decides.
    end = "over" if spec.strategy.value == "shadow" else "at 100 %"
    told = f"{spec.strategy.value}: {end} in {_spell(found.seconds)}; until then the candidate"
    out.print(f"{told} answers {_count(found.exposed)} requests", soft_wrap=True)
    if found.detections:
        out.print(_bad(found))
    out.print(f"suggested: {found.suggested.value}. {found.why}", markup=False, soft_wrap=True)
    for note in found.notes:
        out.print(note, markup=False, soft_wrap=True)


def _bad(found: "Estimate") -> Table:
    """Requests that meet a bad version, and the time to its rollback, by when it turns bad."""
    shares = list(dict.fromkeys(each.weight_bp for each in found.detections))
    table = Table("a bad version fails", *(f"met at {percent(share)}" for share in shares))
    for rate in dict.fromkeys(each.error_rate for each in found.detections):
        cells = [
            "never" if math.isinf(each.seconds) else f"{_count(each.met)} in {_spell(each.seconds)}"
            for each in found.detections
            if each.error_rate == rate
        ]
        table.add_row(f"{rate * 100:g} %", *cells)
    return table


def _finite(number: float) -> float | None:
    return round(number, 3) if math.isfinite(number) else None


def _count(number: float) -> str:
    return f"{math.ceil(number):,}" if math.isfinite(number) else "never enough"


def _spell(seconds: float) -> str:
    if math.isinf(seconds):
        return "for ever"
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"
