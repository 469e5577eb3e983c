"""The ``whorl`` command."""

from __future__ import annotations

import os

# TensorFlow's own chatter is not this program's; whoever wants it sets the variable.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main() -> None:
    """Entry point of the installed script."""
    from app.cli.commands import app

    app()
