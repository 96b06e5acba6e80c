"""Faults to order: seeded, with a share of the traffic, for tests of monitors and of people.

A fault is named by a text such as ``unit:distance:1.609``; `fault` makes it. Nothing here is for
production.
"""

from serinus.testing.faults.catalogue import KINDS, FaultKind, Where, fault
from serinus.testing.faults.client import ClientFault
from serinus.testing.faults.endpoint import EndpointFault
from serinus.testing.faults.store import StoreFault

__all__ = ["KINDS", "ClientFault", "EndpointFault", "FaultKind", "StoreFault", "Where", "fault"]
