"""Policy engines, one file each, with a frozen `Config` and `build(...) -> ports.PolicyEngine`."""
