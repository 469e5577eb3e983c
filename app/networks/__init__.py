"""Architectures in ``keras.ops``, by name, and the device they run on."""
