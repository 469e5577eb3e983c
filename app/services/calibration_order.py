"""What a calibration is asked to do, as it travels through the job table; and who is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from app.core.errors import InvalidInput
from app.matching.calibration import ERRORS_WANTED, subjects_wanted

LEAST_SUBJECTS = 25
"""Their 300 pairs support a false match rate of 10 %; of fewer nothing is worth telling."""
MOST_SUBJECTS = 5000
DEFAULT_SUBJECTS = 800
"""Their 319,600 pairs support the default false match rate of a verification, 0.0001."""
MOST_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class CalibrationOrder:
    """An order to measure what scores mean on a gallery.

    Attributes:
        apply: whether decisions are made by the result, at the stricter threshold of the site's
            and the model's own.
        fmrs: false match rates that must be supported; none: those of a list that are.
        subjects: most persons to compare, drawn at random where there are more.
        seed: of that drawing and of which sample of a person is taken.
    """

    gallery: str = "default"
    apply: bool = False
    fmrs: tuple[float, ...] = ()
    subjects: int = DEFAULT_SUBJECTS
    seed: int = 0

    def __post_init__(self) -> None:
        if not all(0.0 < fmr < 1.0 for fmr in self.fmrs):
            raise InvalidInput("a false match rate must lie between 0 and 1", slug="invalid_input")
        if not LEAST_SUBJECTS <= self.subjects <= MOST_SUBJECTS:
            raise InvalidInput(
                f"subjects must be {LEAST_SUBJECTS} to {MOST_SUBJECTS}", slug="invalid_input"
            )
        if not 0 <= self.seed <= MOST_SEED:
            raise InvalidInput(f"seed must be 0 to {MOST_SEED}", slug="invalid_input")

    def to_dict(self) -> dict[str, Any]:
        """The JSON-ready form."""
        return asdict(self) | {"fmrs": list(self.fmrs)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the JSON form.

        Raises:
            InvalidInput: a field is unknown or out of range.
        """
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise InvalidInput(f"an order to calibrate does not know {', '.join(unknown)}")
        return cls(**(data | {"fmrs": tuple(data.get("fmrs", ()))}))

    def require(self, subjects: int) -> None:
        """Make sure that so many persons, each pair compared once, support what was asked.

        Raises:
            InvalidInput: they do not (``too_few_subjects``); it says how many would.
        """
        require_subjects(min(subjects, self.subjects), self.fmrs, drawn_from=subjects)


def require_subjects(subjects: int, fmrs: Sequence[float], *, drawn_from: int) -> None:
    """Make sure that the counts carry the rates.

    Args:
        subjects: persons that are compared.
        fmrs: rates that were asked for.
        drawn_from: persons that there are, where fewer are compared.

    Raises:
        InvalidInput: they do not (``too_few_subjects``); it says how many would.
    """
    wanted = max([LEAST_SUBJECTS, *(subjects_wanted(fmr) for fmr in fmrs)])
    if subjects >= wanted:
        return
    pairs = subjects * (subjects - 1) // 2
    supported = min(1.0, ERRORS_WANTED / pairs) if pairs else 1.0
    asked = f"a false match rate of {min(fmrs):g} was asked; " if fmrs else ""
    remedy = f"compare {wanted} (subjects)" if drawn_from >= wanted else f"it takes {wanted}"
    raise InvalidInput(
        f"{asked}{subjects} persons with a sample that can be used make {pairs} impostor "
        f"comparisons, which support {supported:.2g} and more by the rule of 30; {remedy}",
        slug="too_few_subjects",
        subjects=subjects,
        subjects_wanted=wanted,
        minimum_fmr=supported,
    )
