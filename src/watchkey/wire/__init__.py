"""Protocols without sockets: bytes and events in, bytes and commands out."""
