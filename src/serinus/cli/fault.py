"""``serinus fault``: the faults that a diagnosis knows, and queries with one of them in."""

import json
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from serinus.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption
from serinus.cli.output import Exit, Output, OutputOption, fail, show_json, stdout
from serinus.errors import SerinusError

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
    table = Table("fault", "where", "what", "class", box=None, pad_edge=False)
    for each in KINDS.values():
        table.add_row(escape(each.usage), each.where.value, each.what, each.fault)
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
    sent = []
    for at in range(requests):
        who = random.choice([*_CALLERS, *([caller] if caller else [])])
        row = right[random.randrange(len(right))]
        wrong = caller is None or who == caller
        plain = json.dumps({"dataframe_records": [row]}).encode()
        sent.append((who, chosen.body(row, at) if wrong else plain))
    counts = _send(server, token, endpoint, sent)
    told = {"fault": spec, "requests": requests, "answered": counts[0], "refused": counts[1]}
    if output is Output.JSON:
        show_json(told)
    else:
        stdout().print(
            f"{requests:,} requests with {escape(spec)} in {share:.0%} of "
            f"{'all rows' if caller is None else escape(caller) + chr(39) + 's rows'}: "
            f"{counts[0]:,} answered, {counts[1]:,} refused"
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


def _send(
    server: str, token: str | None, endpoint: str, sent: list[tuple[str, bytes]]
) -> tuple[int, int]:
    import httpx  # noqa: PLC0415 - costs half the start-up time of `serinus --help`

    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    answered = 0
    try:
        with httpx.Client(base_url=server, timeout=30.0, headers=headers) as client:
            for who, body in sent:
                answer = client.post(
                    f"/serving-endpoints/{endpoint}/invocations",
                    content=body,
                    headers={"x-caller": who},
                )
                if answer.status_code in (401, 403, 404):
                    fail(f"The server answered {answer.status_code}: {answer.text[:300]}")
                answered += answer.is_success
    except httpx.TransportError as error:
        fail(f"The server at {server} can't be reached: {error}", Exit.UNREACHABLE)
    return answered, len(sent) - answered
