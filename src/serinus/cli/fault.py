"""``serinus fault``: the faults that a diagnosis knows, and queries with one of them in."""

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption
from serinus.cli.output import Exit, Output, OutputOption, fail, show_json, stdout
from serinus.errors import SerinusError

if TYPE_CHECKING:
    import httpx

__all__ = ["fault"]

fault = typer.Typer(no_args_is_help=True, help="Put faults into live queries, to see them found.")
_CALLERS = ("web", "app", "partner")


@fault.command("list")
def list_faults(output: OutputOption = Output.TABLE) -> None:
    """Show every fault, how to write it, and the class that a diagnosis should name."""
    # The testing floor is no part of other commands' start.
    from serinus.testing.faults import KINDS  # noqa: PLC0415

    if output is Output.JSON:
        show_json(
            [
                {"fault": each.usage, "where": each.where.value, "what": each.what,
                 "class": each.fault}
                for each in KINDS.values()
            ]
        )  # fmt: skip
        return
    table = Table(box=None, pad_edge=False)
    for name in ("where", "what", "class", "fault"):
        # What is to be typed has to be read whole, however narrow the terminal is.
        table.add_column(name, overflow="fold")
    for each in KINDS.values():
        table.add_row(each.where.value, each.what, each.fault, escape(each.usage))
    stdout().print(table)


@fault.command("inject")
def inject(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="see: serinus fault list")],
    share: Annotated[float, typer.Option(help="share of the rows that are touched")] = 1.0,
    caller: Annotated[
        str | None, typer.Option(help="only this caller sends it", show_default=False)
    ] = None,
    endpoint: Annotated[str, typer.Option(help="the endpoint to ask")] = "flight-delay",
    rows: Annotated[
        Path | None,
        typer.Option(help="right rows, one JSON object a line (default: the demo's flights)"),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="requests to send")] = 2000,
    seed: Annotated[int, typer.Option(help="which rows are chosen and touched")] = 0,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send live queries with a client's fault in some of them; others are as they should be."""
    from serinus.testing.faults import ClientFault  # noqa: PLC0415 - see above
    from serinus.testing.faults import fault as made  # noqa: PLC0415

    try:
        chosen = made(spec, share=share, seed=seed)
    except SerinusError as error:
        fail(error.message, Exit.USAGE)
    if not isinstance(chosen, ClientFault):
        fail(
            f"'{spec}' is no fault of a client's; put it in with serinus.testing.faults.",
            Exit.USAGE,
        )
    right = _rows(rows, requests)
    random = Random(seed)  # noqa: S311 - a choice of rows
    sent, touched = [], 0
    for at in range(requests):
        who = random.choice([*_CALLERS, *([caller] if caller else [])])
        row = right[random.randrange(len(right))]
        plain = json.dumps({"dataframe_records": [row]}, default=str).encode()
        body = chosen.body(row, at) if caller is None or who == caller else plain
        sent.append((who, body))
        touched += body != plain
    if not touched:
        fail(
            f"'{spec}' changes none of {requests:,} rows, so nothing was sent. They have the "
            f"fields {', '.join(right[0])}.",
            Exit.USAGE,
        )
    counts = _send(server, token, endpoint, sent)
    told = {"fault": spec, "requests": requests, "touched": touched}
    told |= {"answered": counts[0], "refused": counts[1]}
    if output is Output.JSON:
        show_json(told)
    else:
        stdout().print(
            f"{requests:,} requests, {touched:,} of them with {escape(spec)}"
            f"{'' if caller is None else f' from {escape(caller)}'}: "
            f"{counts[0]:,} answered, {counts[1]:,} refused",
            soft_wrap=True,
        )


def _rows(path: Path | None, count: int) -> list[dict[str, Any]]:
    if path is not None:
        try:
            found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            fail(f"{path} can't be read: {error}", Exit.USAGE)
        return found or fail(f"{path} has no rows.", Exit.USAGE)
    # pandas and the flights, which come with the extra `serinus[demo]`.
    try:
        from serinus.cli.demo.data import load, records  # noqa: PLC0415
    except ImportError as error:
        fail(f"{error}; give --rows, or: pip install 'serinus[demo]'", Exit.USAGE)
    return records(load(train_rows=1000, test_rows=max(count, 1000)).test)


def _said(answer: "httpx.Response") -> str:
    """The sentence of a refusal."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):  # not this server's
        return answer.text[:300]


def _send(
    server: str, token: str | None, endpoint: str, sent: list[tuple[str, bytes]]
) -> tuple[int, int]:
    import httpx  # noqa: PLC0415 - costs half the start-up time of `serinus --help`

    from serinus.client.wire import far  # noqa: PLC0415 - see above

    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    answered = 0
    try:
        with httpx.Client(
            base_url=server, timeout=30.0, headers=headers, trust_env=far(server)
        ) as client:
            for who, body in sent:
                answer = client.post(
                    f"/serving-endpoints/{endpoint}/invocations",
                    content=body,
                    headers={"x-caller": who},
                )
                if answer.status_code in (401, 403, 404):
                    fail(f"{_said(answer)} ({answer.status_code})", Exit.USAGE)
                answered += answer.is_success
    except httpx.TransportError as error:
        fail(f"The server at {server} can't be reached: {error}", Exit.UNREACHABLE)
    return answered, len(sent) - answered
