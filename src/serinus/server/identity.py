"""Names that this server gives itself towards clients."""

__all__ = ["WORKSPACE_ID"]

#: Clients echo it in a header of every call; one server is one workspace.
WORKSPACE_ID = "1"
