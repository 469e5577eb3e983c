"""The tree of everything that can go wrong, drawn once.

WhorlError
├── InvalidInput            the request cannot be understood or done as asked
│   ├── InvalidImage        broken_image | unsupported_format | image_too_large | image_too_small |
│   │                       too_many_frames
│   ├── DpiUnknown          resolution neither in the file, the request nor the gallery
│   ├── QualityTooLow       a capture that must not be enrolled or searched with
│   └── PolicyNotSupported  an error rate that the model's calibration has no counts for
├── NotFound                a resource that does not exist
├── Conflict                duplicate finger, wrong state, reused idempotency key
├── Overloaded              the queue is full; try again
├── ModelRefused            model_file_changed (hash) | model_file_unreadable |
│                           model_manifest_unusable | model_architecture_unknown |
│                           model_shape_misfit | model_not_finite | model_golden_off |
│                           model_check_failed | model_of_prints | model_of_pictures
├── LeaseLost               another worker owns the job now
└── Cancelled               somebody asked the job to stop

Every error has a ``slug`` (stable, for programs), a ``detail`` (what was found and what to do, for
people) and ``context`` (the figures behind it).
"""

from __future__ import annotations

from typing import Any


class WhorlError(Exception):
    """Root of all named errors."""

    slug = "internal_error"

    def __init__(self, detail: str, *, slug: str | None = None, **context: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context = context
        if slug is not None:
            self.slug = slug


class InvalidInput(WhorlError):
    """The request cannot be understood or done as asked."""

    slug = "invalid_input"


class InvalidImage(InvalidInput):
    """The bytes are not an image that can be used; the slug says which limit or check failed."""

    slug = "broken_image"


class DpiUnknown(InvalidInput):
    """The resolution is neither in the file, the request nor the gallery."""

    slug = "dpi_unknown"


class QualityTooLow(InvalidInput):
    """A capture that must not be enrolled or searched with; the reasons say what to do."""

    slug = "quality_too_low"


class PolicyNotSupported(InvalidInput):
    """An error rate was asked for that the model's calibration has no counts for."""

    slug = "policy_not_supported"


class NotFound(WhorlError):
    """A resource that does not exist."""

    slug = "not_found"


class Conflict(WhorlError):
    """The request contradicts what is stored."""

    slug = "conflict"


class Overloaded(WhorlError):
    """The queue is full; the caller should try again later."""

    slug = "overloaded"


class ModelRefused(WhorlError):
    """A model failed its checks (hash, shape, finiteness, golden vectors) and was not loaded."""

    slug = "model_refused"


class LeaseLost(WhorlError):
    """Another worker owns the job now; what this one did must not count."""

    slug = "lease_lost"


STOPPING = "worker_stopping"
"""Slug where not the job but the process that has it is to stop; no answer of the API's has it."""


class Cancelled(WhorlError):
    """Somebody asked the job to stop."""

    slug = "cancelled"
