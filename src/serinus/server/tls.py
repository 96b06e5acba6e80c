"""What a gateway speaks TLS with. Read by the supervisor too, so that a fault is found at once.

And whether callers see any, which a proxy in front may see to.
"""

import ssl

from serinus.settings import Settings

__all__ = ["scheme", "tls_context"]


def scheme(settings: Settings) -> str:
    """What callers' URLs begin with, whether this server or a proxy in front speaks TLS."""
    return "https" if settings.tls_cert or settings.behind_tls_proxy else "http"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """The context for the certificate and key of the settings; None without them.

    Raises OSError or ssl.SSLError for files that are no certificate and its key.
    """
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context
