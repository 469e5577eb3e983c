"""What a calibration is asked to do, as it travels through the job table; and who is needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from app.core.errors import InvalidInput
from app.matching.calibration import ERRORS_WANTED, subjects_wanted

LEAST_SUBJECTS = 25
"""Their 300 pairs support a false match rate of 10 %; of fewer nothing is worth telling."""
MOST_SUBJECTS = 5000
DEFAULT_SUBJECTS = 800
"""Their 319,600 pairs support the default false match rate of a verification, 0.0001."""
LEAST_FMR = 1e-5
"""Takes 2,450 persons; a lower one, more than can be compared here in a reasonable time."""
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
        if not all(LEAST_FMR <= fmr < 1.0 for fmr in self.fmrs):
            raise InvalidInput(f"a false match rate must be {LEAST_FMR:g} or more, below 1")
        if not LEAST_SUBJECTS <= self.subjects <= MOST_SUBJECTS:
            raise InvalidInput(f"subjects must be {LEAST_SUBJECTS} to {MOST_SUBJECTS}")
        if not 0 <= self.seed <= MOST_SEED:
            raise InvalidInput(f"seed must be 0 to {MOST_SEED}")

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
        """Make sure that the counts carry what was asked, each pair of persons compared once.

        Args:
            subjects: persons with a sample that can be used.

        Raises:
            InvalidInput: they do not (``too_few_subjects``); it says how many would.
        """
        compared = min(subjects, self.subjects)
        wanted = max([LEAST_SUBJECTS, *(subjects_wanted(fmr) for fmr in self.fmrs)])
        if compared >= wanted:
            return
        pairs = compared * (compared - 1) // 2
        supported = min(1.0, ERRORS_WANTED / pairs) if pairs else 1.0
        asked = f"a false match rate of {min(self.fmrs):g} was asked; " if self.fmrs else ""
        remedy = "; raise subjects" if self.subjects < wanted else ""
        raise InvalidInput(
            f"{asked}{compared} persons with a sample that can be used make {pairs} impostor "
            f"comparisons, which support {supported:.2g} and more by the rule of 30; it takes "
            f"{wanted} persons{remedy}",
            slug="too_few_subjects",
            subjects=compared,
            subjects_wanted=wanted,
            minimum_fmr=supported,
        )
