"""The PostgreSQL gateway: a way in that holds a connection only while a lease lives. Sockets here, rules elsewhere.

`gateway` has the listener and the list of who is in, `connection` is one client with its server, `relay` the two
transports between which bytes pass, `upstream` how a server is reached, `statement_log` the trace of what was asked.
"""
