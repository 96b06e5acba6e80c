"""The record of who changed what, as people see it: over HTTP, and at the home of a stopped server.

It must not import FastAPI: a command of the second kind would pay for it.
"""

from typing import Any

from serinus.api.resources import rfc3339
from serinus.store.audit import Checked, Entry

__all__ = ["audit_resource", "check_resource"]


def check_resource(checked: Checked) -> dict[str, Any]:
    """Whether the record is whole."""
    return {
        "whole": checked.broken_at is None,
        "entries": checked.entries,
        "head": checked.head,
        "broken_at": checked.broken_at,
    }


def audit_resource(entry: Entry) -> dict[str, Any]:
    """One change."""
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "actor": entry.actor,
        "token_id": entry.token_id or None,
        "action": entry.action,
        "endpoint": entry.endpoint or None,
        "before": entry.before,
        "after": entry.after,
        "hash": entry.hash,
    }
