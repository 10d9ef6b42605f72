"""Watchkey's own memory, one file each, with a frozen `Config` and `build(...)`."""
