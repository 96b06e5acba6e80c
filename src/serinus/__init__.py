"""Serinus serves trained models over HTTP and lets every new version earn its traffic.

This module stays empty of imports: a replica loads it inside the model's own environment.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
