"""The HTTP service, one file a dialect."""
