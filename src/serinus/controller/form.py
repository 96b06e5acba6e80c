"""What a ready replica says of its model's form, kept with the served entity. Pure."""

from dataclasses import replace

from serinus.engine.engine import ReplicaStatus
from serinus.entities import ServedEntity

__all__ = ["told_form"]


def told_form(entity: ServedEntity, replica: ReplicaStatus) -> ServedEntity:
    """The entity with the replica's form, and its report at the end of the build log."""
    if not replica.form or (entity.form, entity.form_reason) == (replica.form, replica.form_reason):
        return entity
    lines = [*replica.form_report, f"it serves as {replica.form}: {replica.form_reason}"]
    log = "\n".join([*entity.build_log.splitlines(), *lines])
    return replace(entity, form=replica.form, form_reason=replica.form_reason, build_log=log)
