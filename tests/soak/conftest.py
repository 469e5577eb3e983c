"""What the live services of the e2e tests need, they need here too."""

from __future__ import annotations

from tests.e2e.conftest import prints

__all__ = ["prints"]
