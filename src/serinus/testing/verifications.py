"""Verifications of a `FakeStore`, and a verifier that finds what a test has written down."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from serinus.controller.verifier import Subject
from serinus.parity.verification import Gate, GateResult, Result, Verification
from serinus.store.journal import JournalEntry
from serinus.store.verifications import Verified
from serinus.testing.memory import Memory, append, instant

__all__ = ["FakeVerifications", "FakeVerifier"]


class FakeVerifications:
    """See `serinus.store.verifications.Verifications`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def keep(self, verified: Verified, *, epoch: int, entries: Sequence[JournalEntry] = ()) -> None:
        """See `Verifications.keep`."""
        ended = verified.ended_at
        with self._memory.write(epoch) as tables:
            tables.verifications[verified.key] = replace(
                verified,
                started_at=instant(verified.started_at),
                ended_at=None if ended is None else instant(ended),
            )
            append(tables, entries)

    def of(self, keys: Iterable[str]) -> dict[str, Verified]:
        """See `Verifications.of`."""
        kept = self._memory.now.verifications
        return {key: kept[key] for key in keys if key in kept}


class FakeVerifier:
    """Passes every model but those in `faults`; works off its jobs only when it is told to.

    Give it as a `Verifier`'s ``verify``, and `begin` as its ``spawn``.
    """

    def __init__(self) -> None:
        #: Model digest → the class of fault that its preprocessing gate names.
        self.faults: dict[str, str] = {}
        #: Digest → what that gate tells.
        self.details: dict[str, str] = {}
        #: Digests of models of which no golden row can be replayed.
        self.mute: set[str] = set()
        #: Digest → the whole report, where a test has one.
        self.reports: dict[str, Verification] = {}
        #: Digest → what is raised instead of a report.
        self.broken: dict[str, Exception] = {}
        #: Everything that was asked, oldest first.
        self.asked: list[Subject] = []
        #: While true, nothing ends.
        self.hangs = False
        self._jobs: list[Callable[[], None]] = []

    def __call__(self, subject: Subject) -> Verification:
        """The report on that replica."""
        self.asked.append(subject)
        digest = subject.model_digest
        if digest in self.broken:
            raise self.broken[digest]
        if digest in self.reports:
            return self.reports[digest]
        rows = 0 if digest in self.mute else 3
        first = Gate(name="identity", result=GateResult.PASS)
        fault = self.faults.get(digest)
        if fault is None:
            second = Gate(name="golden", result=GateResult.PASS if rows else GateResult.SKIPPED)
            return _report(Result.PASS, digest, rows, first, second)
        detail = self.details.get(digest, "row 2: expected 1.0, got 2.0")
        second = Gate(name="golden", result=GateResult.FAIL, fault=fault, stage="S3", detail=detail)
        return _report(Result.FAIL, digest, rows, first, second)

    def begin(self, job: Callable[[], None]) -> None:
        """Take a job on."""
        self._jobs.append(job)

    def drop(self) -> None:
        """Forget what was begun, as a process that dies does."""
        self._jobs.clear()

    def work(self) -> None:
        """Bring to an end what was begun, unless it hangs."""
        while self._jobs and not self.hangs:
            self._jobs.pop(0)()


def _report(result: Result, digest: str, rows: int, *gates: Gate) -> Verification:
    return Verification(result=result, gates=list(gates), model_digest=digest, rows=rows)
