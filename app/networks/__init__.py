"""Architectures in ``keras.ops``, by name, and the device they run on."""

from __future__ import annotations

import os
import sys


def _import_backend() -> None:
    """Import Keras and its backend with file descriptor 2 pointed at nothing.

    TensorFlow's native code writes lines there before any setting of its own can stop it, and
    ``whorl serve`` would greet its operator with warnings that nobody can act on. A failing import
    raises as ever.
    """
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


_import_backend()
