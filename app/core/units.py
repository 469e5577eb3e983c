"""Units of length."""

from __future__ import annotations

MM_PER_INCH = 25.4
