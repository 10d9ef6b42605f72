"""Where access exists, one file each, with a frozen `Config` and `build(...) -> ports.Target`."""
