"""Bytes of an image to a canonical capture: pure functions, but for the codecs."""
