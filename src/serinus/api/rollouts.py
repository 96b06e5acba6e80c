"""The rollout calls: each stores a wish for the controller, or shows what has become of it.

Nothing here moves a weight. A verb that does not fit is refused at once, in the machine's words.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.bodies import (
    AbortBody,
    ApproveBody,
    NoBody,
    PromoteBody,
    RetryBody,
    UndoBody,
    storable,
    taken_waiver,
)
from serinus.api.cautioned import caution_entry, caution_of
from serinus.api.counts import counts_resource
from serinus.api.judged import judged_now
from serinus.api.policy import policy_of, spec_of
from serinus.api.replay import replay_resource
from serinus.api.resources import (
    entry_resource,
    evidence_resource,
    journal_of,
    rollout_resource,
    settles_verdicts,
)
from serinus.api.rollout_shapes import (
    EvidenceReply,
    JournalPage,
    ReplayReply,
    RolloutPage,
    RolloutReply,
)
from serinus.api.starting import Starter
from serinus.api.supplies import Check
from serinus.api.target import Target, candidate_target, self_test_target
from serinus.api.undoing import undo_spec, undo_target
from serinus.api.unstored import UNSTORED, WayBack, carried_out
from serinus.api.verbs import check_verb
from serinus.api.verifying import rollout_verification
from serinus.entities import Endpoint, EndpointConfig
from serinus.errors import ResourceDoesNotExist
from serinus.store.failures import STORE_FAULTS
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout, Wish

__all__ = ["RolloutCalls"]

#: Verbs that give the candidate more traffic.
_ONWARDS = frozenset({"promote", "resume", "approve"})
_ENDPOINT = "/api/serinus/v1/endpoints/{name}"
_ROLLOUTS = f"{_ENDPOINT}/rollouts"
_ROLLOUT = f"{_ROLLOUTS}/{{rollout_id}}"


class RolloutCalls:
    """Handlers over one store. ``wake`` tells the controller that there is something to hear."""

    def __init__(
        self,
        store: Store,
        starter: Starter,
        *,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        check: Check,
        way_back: WayBack | None = None,
    ) -> None:
        """``check`` refuses a candidate that this server lacks something for.

        ``way_back`` has an abort carried out that can't be stored.
        """
        self._way_back = way_back
        self._store = store
        self._check = check
        self._starter = starter
        self._wake = wake
        self._clock = clock

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["rollouts"])
        router.add_api_route(_ROLLOUTS, self.start, methods=["POST"], response_model=RolloutReply)
        router.add_api_route(_ROLLOUTS, self.list, methods=["GET"], response_model=RolloutPage)
        router.add_api_route(_ROLLOUT, self.get, methods=["GET"], response_model=RolloutReply)
        for verb in (self.promote, self.pause, self.resume, self.approve, self.abort, self.retry):
            router.add_api_route(
                f"{_ROLLOUT}/{verb.__name__}", verb, methods=["POST"], response_model=RolloutReply
            )
        router.add_api_route(
            f"{_ROLLOUT}/journal", self.journal, methods=["GET"], response_model=JournalPage
        )
        router.add_api_route(
            f"{_ROLLOUT}/evidence", self.evidence, methods=["GET"], response_model=EvidenceReply
        )
        router.add_api_route(
            f"{_ROLLOUT}/replay", self.replay, methods=["GET"], response_model=ReplayReply
        )
        router.add_api_route(
            f"{_ENDPOINT}/undo", self.undo, methods=["POST"], response_model=RolloutReply
        )
        return router

    def start(self, name: str, wanted: dict[str, Any], request: Request) -> Response:
        """Start a rollout by a spec, which goes over the default of the endpoint's policy.

        A rollout that is under way makes room first.
        """
        storable(wanted)
        waive = taken_waiver(wanted)
        endpoint = self._store.endpoint(name)
        spec = spec_of(policy_of(self._store, endpoint.id), wanted, name)
        actor, at = actor_of(request), self._clock()

        def target(config: EndpointConfig) -> Target:
            if spec.self_test:
                return self_test_target(config, name)
            found = candidate_target(
                config, name, spec.candidate, creator=actor, at=at, optimize=spec.optimize
            )
            self._check([found.candidate])
            return found

        return self._reply(self._starter.start(name, spec, target, actor, waive=waive))

    def list(self, name: str, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
        """The endpoint's rollouts, the newest first."""
        endpoint = self._store.endpoint(name)
        found = self._store.rollouts.of_endpoint(endpoint.id, limit=limit)
        return json_answer({"rollouts": [self._resource(each) for each in found]})

    def get(self, name: str, rollout_id: str) -> Response:
        """One rollout; ``current`` is the one under way, else the newest."""
        return self._reply(self._rollout(name, rollout_id))

    def promote(
        self, name: str, rollout_id: str, request: Request, asked: PromoteBody | None = None
    ) -> Response:
        """On to the next step, or to 100 %, whatever the evidence says."""
        data = {"full": True} if asked is not None and asked.full else {}
        return self._ask(name, rollout_id, "promote", request, data)

    def pause(
        self, name: str, rollout_id: str, request: Request, asked: NoBody | None = None
    ) -> Response:
        """Stay as it is."""
        return self._ask(name, rollout_id, "pause", request, {})

    def resume(
        self, name: str, rollout_id: str, request: Request, asked: NoBody | None = None
    ) -> Response:
        """Go on after a pause by a person or a timeout."""
        return self._ask(name, rollout_id, "resume", request, {})

    def approve(
        self, name: str, rollout_id: str, request: Request, asked: ApproveBody | None = None
    ) -> Response:
        """Yes to the pause that it stands at, or to a candidate that is not verified."""
        return self._ask(name, rollout_id, "approve", request, _waiver(asked))

    def abort(
        self, name: str, rollout_id: str, request: Request, asked: AbortBody | None = None
    ) -> Response:
        """Back to stable, now."""
        data = {"reason": asked.reason} if asked is not None and asked.reason else {}
        return self._ask(name, rollout_id, "abort", request, data)

    def retry(
        self, name: str, rollout_id: str, request: Request, asked: RetryBody | None = None
    ) -> Response:
        """Try a rolled-back candidate again."""
        fresh = asked is not None and asked.fresh_evidence
        data = {"fresh_evidence": True} if fresh else {}
        return self._ask(name, rollout_id, "retry", request, {**data, **_waiver(asked)})

    def journal(
        self,
        name: str,
        rollout_id: str,
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """What happened to it, oldest first; ``after`` is the id of the last entry seen."""
        rollout = self._rollout(name, rollout_id)
        found = self._store.rollouts.journal(rollout.state.id, after=after, limit=limit)
        return json_answer(
            {
                "entries": [entry_resource(each) for each in found],
                "next": found[-1].id if len(found) == limit else None,
            }
        )

    def evidence(self, name: str, rollout_id: str) -> Response:
        """What the guardrails said last, and at the end of each stage."""
        rollout = self._rollout(name, rollout_id)
        entries = journal_of(self._store, rollout.state.id)
        said = evidence_resource(rollout, entries, judged_now(self._store, rollout.state))
        return json_answer({**said, **counts_resource(self._store, rollout.state)})

    def replay(self, name: str, rollout_id: str) -> Response:
        """Every decision made again from what the journal kept, and whether it stands."""
        rollout = self._rollout(name, rollout_id)
        return json_answer(replay_resource(rollout, journal_of(self._store, rollout.state.id)))

    def undo(self, name: str, request: Request, asked: UndoBody | None = None) -> Response:
        """Back to what served before the last rollout, or to a config version, in one change.

        A rollout under way is aborted instead.
        """
        actor, version = actor_of(request), asked.to if asked is not None else None
        serving, live = self._starter.base(name)
        if live is not None and version is None:
            return self._ask(name, live.state.id, "abort", request, {"reason": "undo"})
        endpoint = self._store.endpoint(name)
        target = undo_target(self._store, endpoint, serving, version)
        spec = undo_spec(target(serving).candidate.model_uri, name)
        # The way back must not wait for anything.
        waive = "an undo, to what has served before"
        return self._reply(self._starter.start(name, spec, target, actor, waive=waive))

    def _ask(
        self, name: str, rollout_id: str, verb: str, request: Request, data: Mapping[str, Any]
    ) -> Response:
        rollout, actor, at = self._rollout(name, rollout_id), actor_of(request), self._clock()
        check_verb(self._store, rollout, verb, actor, at, data)
        try:
            self._store.rollouts.wish(rollout.state.id, verb, actor, at, dict(data))
        except STORE_FAULTS as error:
            if verb != "abort" or self._way_back is None:
                raise
            wish = Wish(UNSTORED, rollout.state.id, verb, actor, at, dict(data))
            carried_out(self._way_back, wish, rollout.state, error)
        if verb in _ONWARDS:
            entries = caution_entry(
                self._store, rollout.endpoint_id, rollout.state, actor, verb, at
            )
            self._store.append(entries)
        self._wake()
        return self._reply(self._store.rollouts.get(rollout.state.id))

    def _rollout(self, name: str, rollout_id: str) -> StoredRollout:
        endpoint = self._store.endpoint(name)
        if rollout_id == "current":
            return self._current(endpoint)
        rollout = self._store.rollouts.get(rollout_id)
        if rollout.endpoint_id != endpoint.id:
            raise ResourceDoesNotExist(f"Endpoint '{name}' has no rollout '{rollout_id}'.")
        return rollout

    def _current(self, endpoint: Endpoint) -> StoredRollout:
        found = self._store.rollouts.of_endpoint(endpoint.id)
        if not found:
            raise ResourceDoesNotExist(
                f"Endpoint '{endpoint.name}' has had no rollout yet. Start one: serinus rollout "
                f"start {endpoint.name} --candidate URI"
            )
        return next((each for each in found if not each.state.phase.terminal), found[0])

    def _resource(self, rollout: StoredRollout) -> dict[str, Any]:
        entries = self._store.rollouts.entries_back_to(rollout.state.id, settles_verdicts)
        judged = judged_now(self._store, rollout.state)
        return {
            **rollout_resource(rollout, entries, judged, self._clock()),
            "verification": rollout_verification(self._store, rollout),
            "caution": caution_of(self._store, rollout.endpoint_id, rollout.state),
        }

    def _reply(self, rollout: StoredRollout) -> Response:
        return json_answer(self._resource(rollout))


def _waiver(asked: ApproveBody | RetryBody | None) -> dict[str, Any]:
    waived = asked.waive_verification if asked is not None else None
    return {"waive_verification": waived} if waived else {}
