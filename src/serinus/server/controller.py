"""The controller process: store, engine, control loop and the control API on a unix socket."""

import gc
import math
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Libraries load it for its colours where they find it: 5 MB that nobody here looks at.
    sys.modules["rich"] = None  # type: ignore[assignment]

import psutil
import structlog
from uv import find_uv_bin

from serinus import __version__
from serinus.api.unstored import Standing
from serinus.controller.bootstrap import endpoint_name, want_model
from serinus.controller.collector import Collector
from serinus.controller.counting import Counting
from serinus.controller.diary import Diary
from serinus.controller.dividing import Dividing, settled
from serinus.controller.evidence import Assessor
from serinus.controller.executor import Executor
from serinus.controller.inquirer import Inquirer
from serinus.controller.links import GatewayLinks
from serinus.controller.loop import Loop
from serinus.controller.messages import Messenger, Outside, UndeliveredError
from serinus.controller.output import replica_logs
from serinus.controller.prober import Prober
from serinus.controller.snapshot import Policy
from serinus.controller.told import Told
from serinus.controller.verifier import Subject, Verifier
from serinus.controller.vitals import VitalSigns
from serinus.engine.artifacts import ModelStore
from serinus.engine.environment import EnvironmentBuilder
from serinus.engine.environment import Policy as EnvironmentPolicy
from serinus.engine.limits import Limits
from serinus.engine.local import LocalEngine
from serinus.engine.registry import default_tracking_uri, move_alias, resolve
from serinus.engine.vault import Vault
from serinus.engine.verifying import verify_replica
from serinus.entities import ModelRef
from serinus.errors import SerinusError, TemporarilyUnavailable
from serinus.parity.diagnosis.values import Routing
from serinus.parity.verification import Verification
from serinus.server.child import (
    CONFIG_FAULT,
    Inheritance,
    configure_logging,
    end_with,
    receive,
    say_alive,
)
from serinus.server.identity import WORKSPACE_ID
from serinus.server.layout import Layout
from serinus.server.tls import scheme
from serinus.server.webhook import post_json
from serinus.settings import Settings
from serinus.store.acts import Act
from serinus.store.failures import StoreAway
from serinus.store.repository import Store, StoreError
from serinus.store.rollouts import Wish

if TYPE_CHECKING:
    import uvicorn

__all__ = ["main"]

_log = structlog.get_logger("serinus.controller")
#: How long a replica may take for one answer of its verification.
_ANSWER_S = 30.0
#: How long an abort that can't be stored waits until every gateway has moved, and between looks.
_MOVED_S, _LOOK_S = 10.0, 0.02


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one clock; everything else is handed it


def _hosts(settings: Settings) -> list[str]:
    return [each.strip() for each in settings.remote_hosts.split(",") if each.strip()]


def _new_id() -> str:
    return secrets.token_hex(16)


class _Controller:
    """All parts of the process, wired."""

    def __init__(self, inheritance: Inheritance) -> None:
        settings = inheritance.settings
        self._settings = settings
        self._layout = Layout(settings.home)
        self.store = Store.open(settings.store)
        self._models = ModelStore(settings.home)
        self._vault = Vault(Path(settings.secrets))
        builder = self._builder()
        epoch = self.store.take_epoch()
        self._engine = self._local_engine(builder, inheritance.lifeline_fd)
        self._assessor = Assessor(self.store)
        self._counting = Counting(time.monotonic)
        self._dividing = Dividing(self._counting)
        self._links = GatewayLinks(
            self._layout.links_socket,
            alive=psutil.pid_exists,
            wake=self._wake,
            on_summary=self._assessor.on_summary,
            counting=self._dividing,
            on_uses=self.store.tokens.note_uses,
        )
        # A predict that outlasts every deadline has no caller left to answer.
        self._prober = Prober(hang_s=settings.deadline + 10, clock=time.monotonic, wake=self._wake)
        told = Told()
        self._diary = Diary(self._counting, told, self._links.generations, clock=time.monotonic)
        self._collector = self._live_values(told)
        self._inquirer = Inquirer(lambda: self._collector.watched, clock=time.monotonic)
        self._executor = Executor(
            self.store,
            self._engine,
            self._links,
            resolve=self._resolve,
            wake=self._wake,
            epoch=epoch,
            drain_s=settings.drain,
        )
        self._messenger = Messenger(self.store, self._outside(), clock=_now)
        self._loop = self._control_loop(epoch)
        self._engine.watch(self._wake)

    def _builder(self) -> EnvironmentBuilder:
        settings = self._settings
        builder = EnvironmentBuilder(
            settings.home,
            find_uv_bin(),
            environ=os.environ,
            policy=EnvironmentPolicy(settings.environments),
        )
        left = self._models.sweep() + builder.sweep()
        if left:
            _log.info("leftovers_removed", directories=left)
        return builder

    def _local_engine(self, builder: EnvironmentBuilder, lifeline_fd: int | None) -> LocalEngine:
        settings = self._settings
        return LocalEngine(
            settings.home,
            self._layout.run,
            store=self._models,
            builder=builder,
            clock=_now,
            environ=os.environ,
            lifeline_fd=lifeline_fd,
            drain_s=settings.drain,
            limits=Limits(memory_bytes=settings.replica_memory),
            remote_hosts=_hosts(settings),
            resolved=self._vault.resolved,
            log_json=settings.log_format == "json",
        )

    def _live_values(self, told: Told) -> Collector:
        settings = self._settings
        return Collector(
            self.store,
            clock=time.monotonic,
            # Hours of live values are those of the calendar.
            wall=time.time,  # noqa: TID251
            every_s=settings.live_every,
            retention_h=math.ceil(settings.live_retention / 3600),
            told=told,
        )

    def _control_loop(self, epoch: int) -> Loop:
        return Loop(
            self.store,
            self._engine,
            self._links,
            self._executor,
            self._prober,
            self._messenger,
            judge=self._assessor.judge,
            policy=_policy(self._settings, epoch),
            clock=_now,
            collector=self._collector,
            diary=self._diary,
            verifier=self._verifier(epoch),
        )

    def _verifier(self, epoch: int) -> Verifier:
        def verify(subject: Subject) -> Verification:
            directory = self._models.path(subject.model_digest)
            return verify_replica(
                directory, subject.address, subject.model_digest, timeout_s=_ANSWER_S
            )

        settings = self._settings
        return Verifier(
            self.store,
            verify,
            settings=f"serinus {__version__}, max_batch {settings.max_batch}, "
            f"threads {settings.threads}",
            epoch=epoch,
            wake=self._wake,
        )

    def _wake(self) -> None:
        self._loop.wake()

    def _carried_out(self, wish: Wish, act: Act | None) -> Standing:
        retreats, of = self._loop.retreats, wish.rollout_id
        retreats.ask(wish, act)
        self._wake()
        for _ in range(round(_MOVED_S / _LOOK_S)):
            if not retreats.waits(of):
                return Standing.STORED
            if retreats.in_force(of):
                return Standing.IN_FORCE
            time.sleep(_LOOK_S)
        return Standing.ASKED

    def _routing(self, endpoint: str) -> Routing:
        newest, serving = settled(self._links.generations, time.sleep)
        return Routing(newest, serving, self._dividing.of(endpoint))

    def _resolve(self, uri: str) -> ModelRef:
        return resolve(
            uri,
            store=self._models,
            tracking_uri=self._tracking_uri(),
            environ=os.environ,
            remote_hosts=_hosts(self._settings),
        )

    def _tracking_uri(self) -> str:
        return self._settings.tracking_uri or default_tracking_uri(Path.cwd())

    def _outside(self) -> Outside:
        def move(model_uri: str, alias: str) -> None:
            try:
                move_alias(model_uri, alias, tracking_uri=self._tracking_uri(), environ=os.environ)
            except SerinusError as error:
                raise UndeliveredError(error.message) from error

        return Outside(post=post_json, move_alias=move)

    def _replica_logs(self, endpoint_id: str, served_name: str) -> str:
        for endpoint in self.store.endpoints():
            if endpoint.id == endpoint_id:
                return replica_logs(self._engine, endpoint, served_name)
        return ""

    def run(self, inheritance: Inheritance) -> None:
        """Serve the API and turn the loop until told to end."""
        settings = self._settings
        if settings.model is not None:
            path = Path(settings.model)
            uri = str(path.absolute()) if path.exists() else settings.model
            name = settings.name or endpoint_name(uri)
            want_model(self.store, uri, name, at=_now(), new_id=_new_id)
        if settings.auth == "required" and not self.store.tokens.grants():
            hint = "serinus token create --name me --admin"
            _log.warning("no_token_exists_yet", make_one=hint, home=str(settings.home))
        self._links.start()
        self._prober.start()
        self._collector.start()
        turning = threading.Thread(target=self._loop.run, name="control-loop", daemon=True)
        turning.start()
        # The loop works on while the API's libraries load: a first answer comes a second sooner.
        server = self._api()
        # What is imported by now stays for ever: no collection has to walk it again, and a wish
        # need not wait for one that does.
        gc.collect()
        gc.freeze()
        say_alive(inheritance)
        server.run()
        self._loop.stop()
        self._prober.stop()
        self._collector.stop()
        turning.join(timeout=5)
        self._links.close()
        self._executor.close()
        self._messenger.close()
        self.store.close()

    def _api(self) -> "uvicorn.Server":
        import uvicorn  # noqa: PLC0415 - see `run`

        from serinus.api.app import create_app  # noqa: PLC0415
        from serinus.api.supplies import Supplies  # noqa: PLC0415

        app = create_app(
            self.store,
            wake=self._wake,
            replica_logs=self._replica_logs,
            clock=_now,
            new_id=_new_id,
            workspace_id=WORKSPACE_ID,
            refresh_live=self._collector.refresh,
            replicas=self._inquirer.identities,
            again=self._inquirer.again,
            apart=self._inquirer.apart,
            routing=self._routing,
            notify=_notify,
            model_directory=self._models.path,
            vitals=VitalSigns(self._engine, self._counting).of,
            condition=self._diary.condition,
            required=self._settings.auth == "required",
            acknowledged=self._links.acknowledged,
            scheme=scheme(self._settings),
            way_back=self._carried_out,
            check=Supplies(self._vault.resolved, _hosts(self._settings)).check,
        )
        self._layout.controller_socket.unlink(missing_ok=True)
        return uvicorn.Server(
            uvicorn.Config(
                app,
                uds=str(self._layout.controller_socket),
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )


def _notify(url: str, body: Mapping[str, Any]) -> None:
    try:
        post_json(url, dict(body))
    except UndeliveredError as error:
        raise TemporarilyUnavailable(str(error)) from error


def _policy(settings: Settings, epoch: int) -> Policy:
    return Policy(
        epoch=epoch,
        max_batch=settings.max_batch,
        threads=settings.threads,
        start_deadline_s=settings.start_deadline,
        queue_limit=settings.queue_limit,
        deadline_s=settings.deadline,
        batch_time_s=settings.batch_time,
    )


def main() -> None:
    """Run until told to end, or until the supervisor dies."""
    inheritance = receive()
    configure_logging(inheritance.settings, inheritance.name)
    # The store holds the variables of models and the digests of tokens: nobody else need read it.
    os.umask(0o077)
    try:
        controller = _Controller(inheritance)
        end_with(inheritance.lifeline_fd)
        controller.run(inheritance)
    except StoreAway as error:
        # Tried again by the supervisor: gateways serve on by the table that they have.
        _log.error("controller_can_not_start_yet", why=error.message)
        sys.exit(1)
    except (StoreError, SerinusError) as error:
        _log.error("controller_can_not_start", why=error.message)
        sys.exit(CONFIG_FAULT)


if __name__ == "__main__":
    main()
