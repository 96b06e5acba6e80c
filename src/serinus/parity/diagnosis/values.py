"""What a diagnosis looks at: everything known of one endpoint in one window, gathered beforehand.

Only values and two small protocols; nothing here asks a server, a store or a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from serinus.parity.arrays import StageValues
from serinus.parity.contract import Contract
from serinus.parity.diagnosis.offline import Offline
from serinus.parity.diagnosis.rows import Rows, no_rows
from serinus.parity.profiles import Profile
from serinus.parity.sketch import Sketch, SliceKey
from serinus.parity.verification import Gate

__all__ = [
    "Event",
    "Golden",
    "LibraryDifference",
    "Measured",
    "Reference",
    "RefusedExample",
    "Repeated",
    "Replica",
    "RouteShare",
    "Routing",
    "Scope",
    "Snapshot",
    "Staged",
]


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """A fact."""


class Scope(_Value, frozen=True):
    """What is looked at."""

    endpoint: str
    #: The served version.
    served: str
    since: datetime
    until: datetime
    #: One caller only; None: all.
    caller: str | None = None


class Replica(_Value, frozen=True):
    """Who serves, against who should; an empty digest is one that nobody could tell."""

    id: str
    served: str
    intended_digest: str
    served_digest: str
    intended_contract: str = ""
    served_contract: str = ""
    #: Digest of the files under it as they are now; empty: not read again.
    files_digest: str = ""
    #: False when its files were touched after it had loaded them.
    untouched: bool = True
    #: Fitted parts that are not those which training named, in the model as it is loaded.
    strange_parts: list[str] = []


class RouteShare(_Value, frozen=True):
    """How much of the split a version should have, and how many requests it got."""

    served: str
    #: 0 to 1.
    wanted: float
    requests: int
    #: The gateway that counted them; empty: all together.
    gateway: str = ""


class Routing(NamedTuple):
    """How gateways divide the requests of an endpoint now."""

    #: The generation of routes that was published last.
    newest: int
    #: Gateway → the generation that it serves by.
    serving: dict[str, int]
    #: Gateway → served name → (basis points it divides by, requests it sent there).
    divided: dict[str, dict[str, tuple[int, int]]]


class LibraryDifference(_Value, frozen=True):
    """One thing of the environment that is not as in training."""

    name: str
    trained: str
    serving: str
    #: Known to be able to change an answer; only then can it be the cause of one.
    matters: bool = True


class RefusedExample(_Value, frozen=True):
    """One refused value, as it was sent (shortened)."""

    field: str
    kind: str
    got: str
    caller: str = ""


class Repeated(_Value, frozen=True):
    """Recorded requests that were asked again, each alone, and how the answers compare."""

    rows: int
    #: Ids of rows that were answered otherwise.
    otherwise: list[str] = []


class Staged(_Value, frozen=True):
    """Recorded rows by stages: as the serving process computed them then, and each alone now."""

    ids: list[str]
    then: dict[str, StageValues]
    alone: dict[str, StageValues]


class Golden(_Value, frozen=True):
    """The last replay of the golden rows on what serves now."""

    gates: list[Gate]
    at: datetime
    rows: int = 0
    #: The replica's model directory has the bytes that it should have; None: not compared.
    artefact_equal: bool | None = None
    #: Two replays of the same rows differed.
    unsteady: bool = False


class Event(_Value, frozen=True):
    """Something that was done, to lay beside the onset."""

    at: datetime
    #: ``deploy``, ``route``, ``environment``, ``schema``, ``feature-job``, ``client``.
    kind: str
    text: str


class Measured(_Value, frozen=True):
    """How good the answers were, from labels that came later."""

    metric: str
    value: float
    labels: int
    #: Rows of the window whose label should be there by now.
    due: int
    #: Empty: all rows; else the part that it is of, such as ``origin=JFK``.
    part: str = ""
    #: The same version on the same part before the onset; None: not known.
    before: float | None = None
    #: Its labels; 0: nobody says. And the version, where it was another one.
    before_labels: int = 0
    before_version: str = ""
    #: Share of rows with a label among those decided yes, and among those decided no.
    labelled_yes: float | None = None
    labelled_no: float | None = None


class Reference(Protocol):
    """The model as it was trained, to compute recorded rows again."""

    def stages(self, rows: Rows) -> dict[str, StageValues]:
        """Stage → values for rows as they were joined (S2); raises nothing."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """All that is known. What is None or empty could not be had, and the diagnosis says so."""

    scope: Scope
    contract: Contract
    profile: Profile
    replicas: list[Replica] | None = None
    #: Digests of every model that the endpoint ever served.
    known_digests: frozenset[str] = frozenset()
    shares: list[RouteShare] | None = None
    #: Gateways that serve by older routes than were published, and gateways at all.
    late_gateways: tuple[list[str], int] = ([], 0)
    #: Units that two versions answered while no weight changed, and units at all.
    switched_units: int = 0
    units: int = 0
    environment: list[LibraryDifference] | None = None
    #: Counts of the served version, by caller and hour, inside of the window.
    live: Mapping[SliceKey, Sketch] = field(default_factory=dict)
    refused: list[RefusedExample] = field(default_factory=list)
    golden: Golden | None = None
    offline: Offline | None = None
    #: Evenly drawn rows of the window.
    rows: Rows = field(default_factory=no_rows)
    reference: Reference | None = None
    repeated: Repeated | None = None
    staged: Staged | None = None
    events: list[Event] = field(default_factory=list)
    measured: list[Measured] | None = None
