"""Watchkey: privileged access exactly while the pager says so."""

__version__ = "0.1.0"
