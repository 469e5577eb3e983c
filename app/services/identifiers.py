"""What the ids that clients choose may look like; nothing else is ever looked up."""

from __future__ import annotations

import re

_GALLERY_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PERSON_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}")


def is_gallery_id(text: str) -> bool:
    """1 to 63 of a-z 0-9 _ -, beginning with a letter or digit."""
    return _GALLERY_ID.fullmatch(text) is not None


def is_person_id(text: str) -> bool:
    """1 to 128 of A-Z a-z 0-9 . _ @ : -, beginning with a letter or digit."""
    return _PERSON_ID.fullmatch(text) is not None
