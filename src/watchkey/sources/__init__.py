"""On-call providers, one file each, with a frozen `Config` and `build(config, ...) -> ports.Source`."""
