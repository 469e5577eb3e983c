"""Wires adapters to ports, for the API, the worker and the command line. Closes what it opens."""
