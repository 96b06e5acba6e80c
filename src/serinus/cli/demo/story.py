"""The demo from beginning to end: learn, register, serve, split, ask, judge."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import DatabricksError, OperationFailed
from databricks.sdk.service.serving import (
    EndpointCoreConfigInput,
    Route,
    ServedEntityInput,
    TrafficConfig,
)
from rich.console import Console
from rich.live import Live

from serinus.cli.demo.claims import broken
from serinus.cli.demo.data import load
from serinus.cli.demo.models import NAME, Version, prepare
from serinus.cli.demo.screen import scores, summary
from serinus.cli.demo.serving import ServerFailed, free_port, serving
from serinus.cli.demo.traffic import Batch, Tally, batches, flowing, sdk_ask, workspace
from serinus.cli.output import Exit, Output, fail, show_json, stderr, stdout

__all__ = ["tell"]

#: Percent for the old and the new version.
_SPLIT = (90, 10)
_REFRESH_S = 0.5


def tell(*, home: Path, port: int, requests: int, once: bool, output: Output) -> Exit:
    """Run the demo; the exit code says whether all that it claims held."""
    screen = stderr() if output is Output.JSON else stdout()
    endless = screen.file.isatty() and not once
    tally = Tally()
    try:
        with _interruptible():
            versions, asked = _play(home.absolute(), port, requests, endless, tally, screen)
    except KeyboardInterrupt:
        fail("interrupted before the demo had shown anything", Exit.UNDECIDED)
    except (ServerFailed, DatabricksError, OperationFailed, TimeoutError) as error:
        fail(str(error))
    failures = ""
    if tally.failures:
        failures = (
            f"{tally.failures} of {tally.total} requests failed; first: {tally.first_failure}."
        )
    found = broken(versions, asked, tally.reports(), failures)
    if output is Output.JSON:
        show_json(summary(versions, asked, tally, found))
    else:
        screen.print(scores(versions, asked, tally))
    for sentence in found:
        stderr().print(f"[bold red]not as claimed:[/] {sentence}", soft_wrap=True)
    if not found:
        screen.print(
            f"{tally.total} requests, none failed; the split is as asked; version "
            f"{versions[1].number} is better, live as on held-out flights."
        )
    return Exit.FINDING if found else Exit.GOOD


def _play(
    home: Path, port: int, requests: int, endless: bool, tally: Tally, screen: Console
) -> tuple[list[Version], dict[str, int]]:
    """Everything up to the judgement; returns the versions and the percent asked for each."""
    home.mkdir(parents=True, exist_ok=True)
    step = _stopwatch(screen)
    flights = load()
    step(f"{len(flights.train)} flights to learn from, {len(flights.test)} of other days held out")
    versions = prepare(home, flights)
    cut = batches(flights, Random(13))  # noqa: S311 - sizes of requests, nothing secret
    step(
        "two versions in MLflow: "
        + ", ".join(f"{each.served_name} (AUC {each.auc:.3f})" for each in versions)
    )
    asked = {each.served_name: share for each, share in zip(versions, _SPLIT, strict=True)}
    with serving(home, port or free_port()) as url:
        step(f"serinus serve answers at {url}")
        _create(workspace(url), versions, asked)
        step(f"endpoint {NAME} serves, split {_SPLIT[0]}/{_SPLIT[1]}")
        _ask(url, cut, tally, (versions, asked), requests, endless, screen)
        step(f"{tally.total} requests of 1 to 20 flights sent through databricks-sdk")
    return versions, asked


def _ask(
    url: str,
    cut: list[Batch],
    tally: Tally,
    shown: tuple[list[Version], dict[str, int]],
    requests: int,
    endless: bool,
    screen: Console,
) -> None:
    """Send the traffic and show it; with ``endless`` until Ctrl-C."""
    with flowing(lambda: sdk_ask(url), cut, tally, requests=requests) as enough:
        # Not Rich's opinion, which FORCE_COLOR changes: nobody can press Ctrl-C in a build log.
        if not screen.file.isatty():
            enough.wait()
            return
        if endless:
            screen.print(
                f"Ask it yourself: serinus query {NAME} --server {url} --data @rows.json"
                "   (Ctrl-C ends the demo)"
            )
        try:
            with Live(scores(*shown, tally), console=screen, transient=True) as live:
                while endless or not enough.is_set():
                    time.sleep(_REFRESH_S)
                    live.update(scores(*shown, tally))
        except KeyboardInterrupt:
            if not enough.is_set():
                raise


def _create(client: WorkspaceClient, versions: list[Version], asked: dict[str, int]) -> None:
    """The endpoint with both versions, as any Databricks client would create it."""
    if any(each.name == NAME for each in client.serving_endpoints.list()):
        # Left by an earlier demo on this home.
        client.serving_endpoints.delete(NAME)
    client.serving_endpoints.create_and_wait(
        name=NAME,
        config=EndpointCoreConfigInput(
            name=NAME,
            served_entities=[
                ServedEntityInput(
                    name=each.served_name, entity_name=NAME, entity_version=each.number
                )
                for each in versions
            ],
            traffic_config=TrafficConfig(
                routes=[
                    Route(served_model_name=name, traffic_percentage=percent)
                    for name, percent in asked.items()
                ]
            ),
        ),
    )


def _stopwatch(screen: Console) -> Callable[[str], None]:
    """Says what was done and how many seconds it took since the last time."""
    last = time.monotonic()

    def step(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        screen.print(f"[dim]{now - last:5.1f} s[/]  {text}", soft_wrap=True)
        last = now

    return step


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, so that its server ends with it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
