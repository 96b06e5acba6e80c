"""Who serves, as replicas say it of themselves and as their files have it, against who should.

It judges nothing.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from serinus.entities import ServedEntity
from serinus.parity.diagnosis.values import Replica
from serinus.parity.folder import Bundle
from serinus.parity.wire import Running
from serinus.store.live import LiveHour

__all__ = ["Identities", "replicas_of"]

#: ``(endpoint_id, served_name)`` → replica → what it says of itself (None: it gave no answer).
Identities = Callable[[str, str], Mapping[str, Running | None]]
_HOUR_S = 3600


def replicas_of(
    entity: ServedEntity,
    bundle: Bundle,
    told: Mapping[str, Running | None],
    hours: list[LiveHour],
    until: datetime,
) -> list[Replica]:
    """Those that answered when asked; where none did, those that counted rows of late."""
    intended = entity.model.digest if entity.model is not None else ""
    asked = [
        Replica(
            id=replica_id,
            served=entity.name,
            intended_digest=intended,
            served_digest=each.model_digest,
            intended_contract=bundle.id,
            # Of a contract that was derived from its files a replica has no id.
            served_contract=each.contract_id,
            files_digest=each.files_digest,
            untouched=each.untouched,
            strange_parts=_strange(bundle, each),
        )
        for replica_id, each in sorted(told.items())
        if each is not None
    ]
    return asked or _counted(entity, bundle, hours, until)


def _strange(bundle: Bundle, running: Running) -> list[str]:
    """Fitted parts of the loaded model that training knows otherwise.

    Another version of a library may keep the same parameters in another way.
    """
    trained, lock = bundle.contract.model.parameters, running.lock
    if lock is None or any(
        name in lock.distributions and lock.distributions[name].version != each.version
        for name, each in bundle.lock.distributions.items()
    ):
        return []
    return sorted(
        path
        for path, digest in running.parameters.items()
        if path in trained and trained[path] != digest
    )


def _counted(
    entity: ServedEntity, bundle: Bundle, hours: list[LiveHour], until: datetime
) -> list[Replica]:
    """Those that counted in this hour or the last: who they were when the server connected."""
    recent = int(until.timestamp()) // _HOUR_S - 1
    last = {each.source: each for each in hours if each.hour >= recent}
    return [
        Replica(
            id=source[:16],
            served=entity.name,
            intended_digest=entity.model.digest if entity.model is not None else "",
            served_digest=each.model_digest,
            intended_contract=bundle.id,
            served_contract=each.contract,
        )
        for source, each in sorted(last.items())
    ]
