"""Verifies one running replica against the contract of its model: read, connect, ask, report.

It blocks for seconds; call it from a thread of its own. It starts and stops nothing.
"""

from pathlib import Path

from serinus.engine.remote import remote_url
from serinus.engine.wire import connect
from serinus.parity.canonical import ContractBroken
from serinus.parity.derived import as_found
from serinus.parity.verification import Gate, GateResult, Result, Verification
from serinus.parity.verify import unreachable, unreadable, verify
from serinus.parity.wire import WireLost

__all__ = ["verify_replica"]

#: Rows of one question: the replica may serve users meanwhile.
_AT_ONCE = 64
_NOT_OURS = "a remote endpoint: its model is not here, so that nothing of it can be verified"
_REMOTE = [Gate(name="identity", result=GateResult.SKIPPED, detail=_NOT_OURS)]


def verify_replica(
    directory: Path,
    address: str,
    digest: str,
    *,
    timeout_s: float = 60.0,
) -> Verification:
    """The report on the replica at ``address`` (`ReplicaStatus.address`).

    ``directory`` is the pinned model's (`ModelStore.path`), ``digest`` its `ModelRef.digest`.
    A broken contract, a replica that is another one or that is lost on the way: a failed report.
    Raises InvalidParameterValue only when ``directory`` is no model.
    """
    if remote_url(directory) is not None:
        return Verification(result=Result.PASS, gates=_REMOTE, model_digest=digest)
    try:
        bundle, foreign = as_found(directory)
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
                foreign=foreign,
                at_once=_AT_ONCE,
            )
    except WireLost as error:
        return unreachable(error, bundle, digest)
