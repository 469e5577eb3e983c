"""Small real implementations of ports, and prints to feed them; shared by all kinds of tests."""
