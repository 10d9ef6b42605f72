"""Pure thinking: the same input gives the same answer; instants are arguments, never read from a clock."""
