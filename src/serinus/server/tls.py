"""What a gateway speaks TLS with. Read by the supervisor too, so that a fault is found at once."""

import ssl

from serinus.settings import Settings

__all__ = ["tls_context"]


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The context for the certificate and key of the settings; None without them.

    Raises OSError or ssl.SSLError for files that are no certificate and its key.
    """
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context
