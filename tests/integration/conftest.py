"""Fixtures of tests across rooms: a small model made by the project's own code."""

from __future__ import annotations

from tests.small_model import model_home, shipped_models, synthetic_prints

__all__ = ["model_home", "shipped_models", "synthetic_prints"]
