"""One file a vendor, with its answers written by hand after the documented shapes."""
