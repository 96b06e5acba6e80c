"""Stand-ins for tests and simulations, held to the same suites as what they stand for.

They use no threads, no files and no real time; nothing here is for production.
"""

from serinus.testing.engine import Call, FakeEngine, Script
from serinus.testing.store import FakeStore
from serinus.testing.verifications import FakeVerifier

__all__ = ["Call", "FakeEngine", "FakeStore", "FakeVerifier", "Script"]
