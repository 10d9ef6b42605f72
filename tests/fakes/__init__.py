"""Full implementations of the ports for tests; each passes the contract suite of its port."""
