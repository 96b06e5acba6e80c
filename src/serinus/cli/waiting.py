"""Shows how far an endpoint's update has come, while it is waited for. Writes to stderr only."""

from types import TracebackType
from typing import Any, Self

from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from serinus.cli.output import note, stderr

__all__ = ["Waiting"]

_WORDS = {
    "DEPLOYMENT_CREATING": "creating",
    "DEPLOYMENT_READY": "ready",
    "DEPLOYMENT_FAILED": "failed",
    "DEPLOYMENT_RECOVERING": "recovering",
    "DEPLOYMENT_ABORTED": "aborted",
}


class Waiting:
    """A line per served entity: a live spinner on a terminal, else a line whenever it changes."""

    def __init__(self) -> None:
        self._console = stderr()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def see(self, endpoint: dict[str, Any]) -> None:
        """Take the endpoint as the server describes it now."""
        for entity in (endpoint.get("pending_config") or {}).get("served_entities") or []:
            state = entity.get("state") or {}
            deployment = state.get("deployment", "")
            stage = _WORDS.get(deployment, deployment.lower() or "waiting")
            message = state.get("deployment_state_message") or ""
            self._say(str(entity.get("name")), f"{stage}: {message}" if message else stage)

    def _say(self, name: str, text: str) -> None:
        if self._said.get(name) == text:
            return
        self._said[name] = text
        line = f"{name}  {text}"
        if not self._console.is_terminal:
            note(line)
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", total=None)
        self._progress.update(self._tasks[name], description=line.replace("[", r"\["))
