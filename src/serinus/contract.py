"""What training scripts import: ``serinus.contract.capture(...)``. It adds nothing of its own."""

from serinus.parity.capture import capture
from serinus.parity.folder import Bundle, read_bundle, write_bundle
from serinus.parity.leakage import LeakageFound

__all__ = ["Bundle", "LeakageFound", "capture", "read_bundle", "write_bundle"]
