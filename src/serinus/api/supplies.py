"""What served entities need of the server that is to run them: secrets, hosts that may be called.

It is asked before a wish is stored, so that a client hears at once what is missing. It must never
keep or tell a secret's value.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from serinus.engine.registry import check_uri
from serinus.engine.remote import check_remote, is_remote
from serinus.entities import ServedEntity

__all__ = ["Check", "Supplies", "anything"]

#: Raises InvalidParameterValue for what could never be ready here.
Check = Callable[[Iterable[ServedEntity]], None]


def anything(entities: Iterable[ServedEntity]) -> None:
    """Let all by: for an API that can't say what its server has."""


class Supplies:
    """``resolved`` raises for an unknown secret; ``remote_hosts`` are those that may be called."""

    def __init__(
        self, resolved: Callable[[Mapping[str, str]], object], remote_hosts: Collection[str]
    ) -> None:
        self._resolved = resolved
        self._hosts = remote_hosts

    def check(self, entities: Iterable[ServedEntity]) -> None:
        """See `Check`."""
        for each in entities:
            check_uri(each.model_uri)
            if is_remote(each.model_uri):
                check_remote(each.model_uri, self._hosts)
            self._resolved(each.environment_vars)
