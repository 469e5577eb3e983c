"""The ``whorl`` command."""

from __future__ import annotations

import os

# TensorFlow's own chatter is not this program's; whoever wants it sets the variable.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Requests run beside each other, so a comparison's matrix products need no threads of their own; on
# busy cores OpenBLAS's threads wait for each other and made a comparison several times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Entry point of the installed script."""
    from app.cli.commands import app

    app()
