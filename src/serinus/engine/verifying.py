"""Verifies one running replica against the contract of its model: read, connect, ask, report.

It blocks for seconds; call it from a thread of its own. It starts and stops nothing.
"""

from pathlib import Path

from serinus.engine.wire import connect
from serinus.errors import SerinusError
from serinus.parity.canonical import ContractBroken
from serinus.parity.derived import of_model
from serinus.parity.folder import DIRECTORY, Bundle, ContractForeign, read_bundle
from serinus.parity.verification import Gate, Verification
from serinus.parity.verify import unreachable, unreadable, verify
from serinus.parity.wire import WireLost

__all__ = ["verify_replica"]

#: Rows of one question: the replica may serve users meanwhile.
_AT_ONCE = 64


def verify_replica(
    directory: Path,
    address: str,
    digest: str,
    *,
    shadow: Gate | None = None,
    timeout_s: float = 60.0,
) -> Verification:
    """The report on the replica at ``address`` (`ReplicaStatus.address`).

    ``directory`` is the pinned model's (`ModelStore.path`), ``digest`` its `ModelRef.digest`.
    A broken contract, a replica that is another one or that is lost on the way: a failed report.
    Raises InvalidParameterValue only when ``directory`` is no model.
    """
    try:
        bundle, foreign = _bundle(directory)
    except ContractBroken as error:
        return unreadable(error, digest)
    try:
        with connect(address, digest, timeout_s=timeout_s) as wire:
            running = wire.running()
            return verify(
                bundle,
                wire,
                running,
                intended=digest,
                shadow=shadow,
                foreign=foreign,
                at_once=_AT_ONCE,
            )
    except WireLost as error:
        return unreachable(error, bundle, digest)


def _bundle(directory: Path) -> tuple[Bundle, SerinusError | None]:
    """The contract, and why it is another model's if it is: where it points to says more yet."""
    try:
        return of_model(directory), None
    except ContractForeign as error:
        return read_bundle(directory / DIRECTORY), error
