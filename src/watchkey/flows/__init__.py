"""Verbs, one use case a file; flows see ports, never adapters, and do not call each other."""
