"""A small synchronous client of the REST API: what the command line and scripts talk with.

It only speaks HTTP; it never reads the server's files, settings or database.
"""

from serinus.client.calls import Client, UpdateFailed, UpdateUnfinished
from serinus.client.wire import DEFAULT_URL, ServerUnreachable

__all__ = ["DEFAULT_URL", "Client", "ServerUnreachable", "UpdateFailed", "UpdateUnfinished"]
