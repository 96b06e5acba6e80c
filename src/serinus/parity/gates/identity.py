"""Is what runs what was meant: the pinned files, the contract beside them, the right replica?"""

from serinus.errors import SerinusError
from serinus.parity.canonical import ContractForeign
from serinus.parity.folder import Bundle
from serinus.parity.verification import Gate, GateResult
from serinus.parity.wire import Running

__all__ = ["NAME", "foreign_gate", "identity_gate"]

NAME = "identity"


def identity_gate(bundle: Bundle, running: Running, intended: str) -> Gate:
    """Hold the replica's digests against those that were meant."""
    if running.model_digest != intended:
        return Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="routing",
            detail=f"The replica serves the model {running.model_digest[:12]}…; "
            f"{intended[:12]}… was meant.",
        )
    written = bool(bundle.contract.files)  # a derived contract was never beside the model
    if written and running.contract_id != bundle.id:
        has = f"the contract {running.contract_id[:12]}…" if running.contract_id else "no contract"
        return Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="model.artefact",
            detail=f"The replica's files hold {has}; {bundle.id[:12]}… was meant. Start it again "
            "from the pinned files.",
        )
    contract = f" and its contract is {bundle.id[:12]}…" if written else ""
    return Gate(
        name=NAME, result=GateResult.PASS, detail=f"The model is {intended[:12]}…{contract}."
    )


def foreign_gate(error: SerinusError) -> Gate:
    """The gate for a contract that can't be read, or that is another model's."""
    fault = "model.artefact" if isinstance(error, ContractForeign) else "contract"
    return Gate(name=NAME, result=GateResult.FAIL, fault=fault, detail=error.message)
