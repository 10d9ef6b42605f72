"""Ways in: each translates the outside to a flow and back; no rules here."""
