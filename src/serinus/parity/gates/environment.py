"""What the replica computes with, beside what training computed with, and whether it matters.

A difference alone proves nothing; it does when golden rows come out otherwise, too.
"""

from collections.abc import Iterator
from typing import NamedTuple

from serinus.parity.contract import Contract
from serinus.parity.lock import Lock
from serinus.parity.verification import Gate, GateResult

__all__ = ["NAME", "Difference", "environment_gate", "lock_differences"]

NAME = "environment"

#: Flavour → the distributions behind it.
_BEHIND = {
    "sklearn": ("scikit-learn",),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "pytorch": ("torch",),
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "keras": ("keras", "tensorflow", "torch"),
    "onnx": ("onnxruntime", "onnx"),
    "transformers": ("transformers", "tokenizers", "torch"),
    "sentence_transformers": ("sentence-transformers", "transformers", "tokenizers", "torch"),
    "statsmodels": ("statsmodels",),
    "spacy": ("spacy",),
}
#: Libraries that compute: a version of theirs can change an answer, whatever the flavour.
_COMPUTE = frozenset(
    """
    numpy scipy pandas pyarrow polars numba joblib scikit-learn xgboost lightgbm catboost torch
    torchvision tensorflow keras onnxruntime transformers tokenizers sentence-transformers
    statsmodels spacy gensim nltk pillow opencv-python opencv-python-headless scikit-image
    category-encoders imbalanced-learn feature-engine patsy
    """.split()  # noqa: SIM905 - forty quotes would hide the words
)
_MOST_SHOWN = 12


class Difference(NamedTuple):
    """One thing that is otherwise than at training."""

    name: str
    trained: str
    running: str
    #: Known to be able to change an answer.
    matters: bool

    def __str__(self) -> str:
        return f"{self.name} {self.trained} at training, {self.running} here"


def lock_differences(contract: Contract, trained: Lock, running: Lock) -> list[Difference]:
    """All differences, those that are known to matter first.

    Distributions that the replica has not loaded have no part in its answers and are left out.
    """
    found = [*_python(trained, running), *_distributions(contract, trained, running)]
    if trained.source == "process":
        found += _machine(trained, running)
    return sorted(found, key=lambda each: not each.matters)


def _python(trained: Lock, running: Lock) -> Iterator[Difference]:
    if trained.python and trained.python != running.python:
        minor = trained.python.split(".")[:2] != running.python.split(".")[:2]
        yield Difference("Python", trained.python, running.python, minor)


def _distributions(contract: Contract, trained: Lock, running: Lock) -> Iterator[Difference]:
    known = _COMPUTE | set(_BEHIND.get(contract.model.flavor, ()))
    for name, was in sorted(trained.distributions.items()):
        now = running.distributions.get(name)
        if now is None:
            continue
        if now.version != was.version:
            yield Difference(name, was.version, now.version, name in known)
        elif was.sha256 and now.sha256 and was.sha256 != now.sha256:
            build = f"{now.version} of another build"
            yield Difference(name, was.version, build, name in known)


def _machine(trained: Lock, running: Lock) -> Iterator[Difference]:
    for name, was, now, matters in (
        ("machine", trained.machine, running.machine, True),
        ("time zone", trained.timezone, running.timezone, False),
        ("locale", trained.encoding, running.encoding, False),
        ("libc", trained.libc, running.libc, False),
        ("BLAS", ", ".join(trained.blas), ", ".join(running.blas), False),
    ):
        if was and now and was != now:
            yield Difference(name, was, now, matters)
    lost = sorted(set(trained.cpu_features) - set(running.cpu_features))
    if lost and running.cpu_features:
        yield Difference("CPU features", " ".join(lost), "without them", False)


def environment_gate(differences: list[Difference] | None, *, golden_differs: bool | None) -> Gate:
    """The gate: it fails when something that matters differs and golden rows differ, too.

    ``differences`` is None when the replica could not say; ``golden_differs`` when no golden row
    shows it.
    """
    if differences is None:
        why = "The replica could not say what it computes with."
        return Gate(name=NAME, result=GateResult.SKIPPED, detail=why)
    known = [each for each in differences if each.matters]
    shown = "; ".join(map(str, differences[:_MOST_SHOWN]))
    more = len(differences) - _MOST_SHOWN
    shown += f"; and {more} more" if more > 0 else ""
    if known and golden_differs:
        return Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="environment",
            detail=f"Golden rows come out otherwise, and the environment differs: {shown}. Serve "
            "the model in the environment that was logged with it, or train it again in this one.",
        )
    if not differences:
        return Gate(name=NAME, result=GateResult.PASS, detail="The same as at training.")
    harm = {
        None: "No golden row shows whether it matters.",
        False: "Golden rows come out the same, so it does no harm to them.",
        True: "Nothing of it is known to change answers.",
    }[golden_differs]
    return Gate(name=NAME, result=GateResult.PASS, detail=f"Differs: {shown}. {harm}")
