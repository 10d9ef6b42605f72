"""Who is asking, one file each, with a frozen `Config` and `build(...) -> ports.IdentityVerifier`."""
