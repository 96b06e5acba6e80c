"""What can go wrong with the store itself, as errors for people: never a driver's error alone."""

from serinus.errors import SerinusError, TemporarilyUnavailable

__all__ = ["STORE_FAULTS", "FencedOut", "StoreAway", "StoreBusy", "StoreError"]


class StoreError(SerinusError):
    """The store can't be read or written."""

    # Not 503: clients would retry in silence for minutes and hide the sentence that helps.


class StoreBusy(TemporarilyUnavailable):
    """Another process has been writing to the store for too long; try again in a moment."""


class StoreAway(TemporarilyUnavailable):
    """The database server does not answer; what is served goes on without it."""


#: What keeps something from being stored, and may pass.
STORE_FAULTS = (StoreError, StoreBusy, StoreAway)


class FencedOut(SerinusError):
    """A newer controller is in charge; this one must stop acting."""

    code = "ABORTED"
    status = 409
