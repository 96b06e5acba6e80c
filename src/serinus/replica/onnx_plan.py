"""How a converted model is asked: which columns go into which input, and what comes back as what.

Plain values in a file beside the converted model; it computes nothing.
"""

import msgspec

__all__ = ["LARGEST", "NO_TEXT", "Guard", "Input", "Plan"]

#: Beyond it a number of single precision is infinite.
LARGEST = 3.4028234663852886e38
#: ONNX has no missing text; this stands for it, and the comparison shows whether it may.
NO_TEXT = "\x00serinus: no text"


class Input(msgspec.Struct, frozen=True):
    """One input of the converted model."""

    name: str
    #: Places of its columns in the signature.
    columns: list[int]
    #: ``float64``, ``float32``, ``int64``, ``bool`` or ``string``.
    kind: str


class Guard(msgspec.Struct, frozen=True):
    """Values of a column that the original refuses and ONNX Runtime would answer."""

    column: int
    #: ``null``, ``huge`` or ``absent`` (of an optional column).
    what: str
    #: In whose words they are refused.
    message: str
    #: The column's name.
    name: str = ""


class Plan(msgspec.Struct, frozen=True):
    """All that a replica needs besides the converted model."""

    inputs: list[Input]
    #: The output that is the answer.
    output: str
    #: NumPy type of the original's answers, and their shape after the rows.
    dtype: str
    tail: list[int]
    #: Columns of the signature.
    columns: int
    guards: list[Guard] = []
    #: The output that the original's scores are compared with; "": it has none.
    score: str = ""
