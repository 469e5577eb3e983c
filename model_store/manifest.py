"""What a model says of itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class BrokenModelError(Exception):
    """A model folder that cannot be trusted: missing, unreadable, or its hashes do not match."""


class FileFacts(BaseModel):
    """Size and SHA-256 of one file of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, data: bytes) -> FileFacts:
        """Facts of a file's content."""
        return cls(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


class ManifestDraft(BaseModel):
    """A manifest before its id and files are known.

    Attributes:
        architecture: name and parameters; the code builds the network from them.
        preparation: parameters of the chain from capture to encoder input.
        matching: parameters of the comparison.
        calibration: table score -> FMR with its counts.
        metrics: error rates with counts, by data set.
        training: recipe, seeds, data facts, loss: what is needed to make the model again.
        parent: id of the model that training started from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    architecture: dict[str, Any]
    preparation: dict[str, Any]
    matching: dict[str, Any]
    calibration: dict[str, Any]
    metrics: dict[str, Any]
    training: dict[str, Any]
    parent: str | None = None
    licence: str
    created: str


class Manifest(ManifestDraft):
    """A complete manifest. The id is the hash of everything else, files included."""

    id: str = Field(pattern=r"^[0-9a-f]{16}$")
    files: dict[str, FileFacts]

    @classmethod
    def seal(cls, draft: ManifestDraft, files: dict[str, FileFacts]) -> Manifest:
        """Complete a draft."""
        content = draft.model_dump() | {"files": {k: v.model_dump() for k, v in files.items()}}
        return cls(id=content_id(content), **content)

    def check_id(self) -> None:
        """Make sure that the id is the hash of the rest.

        Raises:
            BrokenModelError: it is not.
        """
        try:
            expected = content_id(self.model_dump(exclude={"id"}))
        except ValueError as error:
            raise BrokenModelError(f"the manifest of {self.id} has no hash: {error}") from error
        if expected != self.id:
            raise BrokenModelError(f"the manifest of {self.id} was changed: its hash is {expected}")


def content_id(content: dict[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
