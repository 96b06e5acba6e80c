"""Has every version that becomes ready verified, once, on a real replica of it, in the background.

What was found is stored, so that a new controller goes on with it; what was under way begins again.
It decides nothing: what a report means is `serinus.controller.verified`'s.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from serinus.controller.groups import Group, group_of, groups_of
from serinus.controller.snapshot import Snapshot
from serinus.controller.verified import asked_by_config, asked_by_rollout, counts, why_failed
from serinus.entities import ConfigUpdate, Endpoint, ServedEntity
from serinus.errors import SerinusError, described
from serinus.parity.verification import Gate, GateResult, Result, Verification
from serinus.rollout.checks import Checks, checks_in
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.verifications import Verified, key_of

__all__ = ["Subject", "Verifier", "Verify"]

_log = structlog.get_logger("serinus.controller")
#: Threads at most, those included that hang and were given up.
_THREADS = 8
#: A replica that ends while it is asked is followed by the next one, so often.
_TRIES = 3
_MAX_GATES, _MAX_NOTES, _MAX_DIFFERENCES, _MAX_TEXT = 32, 32, 64, 4000


@dataclass(frozen=True, slots=True)
class Subject:
    """A running replica that is to be verified."""

    model_digest: str
    replica_id: str
    #: Where it listens.
    address: str


#: Tries every gate; it may take minutes, and raise whatever it likes.
Verify = Callable[[Subject], Verification]


@dataclass(frozen=True, slots=True)
class _Question:
    """Who wants to know, and of what."""

    endpoint_id: str
    asked_for: str
    entity: ServedEntity
    verify_after: datetime | None
    rollout_id: str | None = None
    #: It serves already: whatever was found for somebody else is answer enough.
    content: bool = False


@dataclass(slots=True)
class _Job:
    """One verification under way."""

    question: _Question
    subject: Subject
    began: datetime
    report: Verification | None = None


class Verifier:
    """Begins verifications and gathers what they found; all calls from the loop's thread.

    ``settings`` is what else an answer may depend on: a report made with others does not count.
    ``wake`` is called from a thread of ``spawn`` when one has ended.
    """

    def __init__(
        self,
        store: Store,
        verify: Verify,
        *,
        settings: str,
        epoch: int,
        wake: Callable[[], None],
        spawn: Callable[[Callable[[], None]], None] | None = None,
        deadline: timedelta = timedelta(minutes=5),
        at_once: int = 2,
    ) -> None:
        self._store = store
        self._verify = verify
        self._settings = settings
        self._epoch = epoch
        self._wake = wake
        self._spawn = spawn or _thread
        self._deadline = deadline
        self._at_once = at_once
        self._known: dict[str, Verified] = {}
        self._shown: Mapping[str, Verified] = {}
        self._jobs: dict[str, _Job] = {}
        #: How many replicas in a row ended while they were asked.
        self._lost: dict[str, int] = {}
        self._threads = 0
        self._lock = threading.Lock()
        #: What each endpoint looked like when nothing was left to verify of it.
        self._settled: dict[str, object] = {}

    def look(self, snapshot: Snapshot) -> Mapping[str, Verified]:
        """What is known now, by key, after beginning what is due; raises what the store raises."""
        if snapshot.replicas is not None:
            self._gather(snapshot)
            self._begin(snapshot)
        if self._shown != self._known:
            self._shown = dict(self._known)
        return self._shown

    # --- what is to be verified

    def _begin(self, snapshot: Snapshot) -> None:
        groups: dict[str, Group] = {}
        for endpoint in snapshot.endpoints:
            looks = _looks(endpoint)
            if endpoint.deleted or self._settled.get(endpoint.id) == looks:
                continue
            checks = checks_in(self._store.rollouts.policy(endpoint.id))
            updating = endpoint.update is ConfigUpdate.IN_PROGRESS
            if checks is Checks.OFF:
                if not updating:  # another policy is for what comes after it
                    self._settled[endpoint.id] = looks
                continue
            groups = groups or groups_of(snapshot)
            # In a list: each has to be asked.
            done = [self._answered(each, snapshot, groups) for each in _asked(snapshot, endpoint)]
            if all(done) and not updating:
                self._settled[endpoint.id] = looks

    def _answered(
        self, question: _Question, snapshot: Snapshot, groups: Mapping[str, Group]
    ) -> bool:
        """True when there is an answer; else one is begun as soon as a replica is ready."""
        key = key_of(question.entity)
        if key in self._jobs or not key:
            return False
        if key not in self._known:
            self._load(key)
        known = self._known.get(key)
        late = known is not None and _before(known.started_at, question.verify_after)
        told = known is not None and known.report is not None
        if not late and ((told and question.content) or counts(known, question.asked_for)):
            return True
        group = groups.get(group_of(question.endpoint_id, question.entity))
        ready = group.ready if group is not None else ()
        if ready and len(self._jobs) < self._at_once and self._threads < _THREADS:
            replica = ready[0]
            subject = Subject(replica.spec.model_digest, replica.spec.replica_id, replica.address)
            self._start(key, _Job(question, subject, snapshot.at))
        return False

    def _load(self, key: str) -> None:
        """What an earlier controller found out, if it still means something."""
        stored = self._store.verifications.of([key]).get(key)
        if stored is not None and stored.report is not None and stored.settings == self._settings:
            self._known[key] = stored

    # --- one verification

    def _start(self, key: str, job: _Job) -> None:
        running = self._verified(key, job)
        self._store.verifications.keep(running, epoch=self._epoch)
        self._known[key] = running
        self._jobs[key] = job
        with self._lock:
            self._threads += 1
        self._spawn(lambda: self._run(job))
        _log.info("verification_began", replica=job.subject.replica_id, for_=running.asked_for)

    def _run(self, job: _Job) -> None:
        try:
            job.report = self._verify(job.subject)
        except SerinusError as error:
            job.report = _unfinished(error.message)
        except Exception as error:  # noqa: BLE001 - whatever it was, somebody waits for an answer
            _log.exception("verification_failed", replica=job.subject.replica_id)
            told = described(error)
            job.report = _unfinished(f"the verification itself met {told}")
        finally:
            with self._lock:
                self._threads -= 1
        self._wake()

    def _gather(self, snapshot: Snapshot) -> None:
        living = {each.spec.replica_id for each in snapshot.replicas or () if each.address}
        for key, job in list(self._jobs.items()):
            report = job.report
            if report is None and snapshot.at - job.began > self._deadline:
                spell = f"{self._deadline.total_seconds():g} s"
                report = _unfinished(f"the replica had not answered everything after {spell}")
            elif report is None:
                continue
            del self._jobs[key]
            lost = report.result is Result.FAIL and job.subject.replica_id not in living
            tries = self._lost.pop(key, 0) + 1
            if lost and tries < _TRIES:
                self._lost[key] = tries
                del self._known[key]  # another replica is asked as soon as one is ready
            else:
                self._end(key, job, _bounded(report), snapshot.at)

    def _end(self, key: str, job: _Job, report: Verification, at: datetime) -> None:
        verified = self._verified(key, job, at, report)
        question, failed = job.question, why_failed(report)
        data = {
            "served_entity": question.entity.name,
            "asked_for": question.asked_for,
            "replica": job.subject.replica_id,
            "why": failed,
            "report": msgspec.to_builtins(report),
        }
        entry = JournalEntry(
            "controller",
            "verified",
            at,
            question.endpoint_id,
            data,
            rollout_id=question.rollout_id,
        )
        self._store.verifications.keep(verified, epoch=self._epoch, entries=[entry])
        self._known[key] = verified
        log = _log.warning if failed else _log.info
        log("verified", entity=question.entity.name, result=report.result.value, why=failed)

    def _verified(
        self,
        key: str,
        job: _Job,
        ended_at: datetime | None = None,
        report: Verification | None = None,
    ) -> Verified:
        digest, asked_for = job.subject.model_digest, job.question.asked_for
        return Verified(key, digest, asked_for, job.began, ended_at, report, self._settings)


def _asked(snapshot: Snapshot, endpoint: Endpoint) -> Iterator[_Question]:
    """Everything of this endpoint that is to be verified, what waits for it first."""
    pending = endpoint.pending if endpoint.update is ConfigUpdate.IN_PROGRESS else None
    views = {
        (view.rollout.target_version, view.state.candidate): view
        for view in snapshot.rollouts_of(endpoint.id)
        if not view.state.phase.terminal
    }
    for config in filter(None, (pending, endpoint.active)):
        for entity in config.entities:
            view = views.get((config.version, entity.name))
            asked_for = asked_by_config(endpoint.id, config.version)
            if view is not None:
                asked_for = asked_by_rollout(view)
            rollout_id = view.state.id if view is not None else None
            yield _Question(
                endpoint.id,
                asked_for,
                entity,
                endpoint.verify_after,
                rollout_id,
                content=config is endpoint.active,
            )


def _looks(endpoint: Endpoint) -> object:
    """What decides which questions an endpoint has, while no update is under way."""
    active = endpoint.active.version if endpoint.active is not None else 0
    return active, endpoint.update, endpoint.verify_after


def _before(at: datetime, moment: datetime | None) -> bool:
    return moment is not None and at < moment


def _unfinished(detail: str) -> Verification:
    gate = Gate(name="reach", result=GateResult.FAIL, detail=detail)
    return Verification(result=Result.FAIL, gates=[gate])


def _bounded(report: Verification) -> Verification:
    """Small enough for the journal, whatever a model put into its answers."""
    gates = [
        msgspec.structs.replace(gate, detail=gate.detail[:_MAX_TEXT])
        for gate in report.gates[:_MAX_GATES]
    ]
    notes = [note[:_MAX_TEXT] for note in report.notes[:_MAX_NOTES]]
    differences = report.differences[:_MAX_DIFFERENCES]
    return msgspec.structs.replace(report, gates=gates, notes=notes, differences=differences)


def _thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, name="verify", daemon=True).start()
