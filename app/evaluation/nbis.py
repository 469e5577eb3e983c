"""The baseline ``nbis``: minutiae by mindtct, comparison by bozorth3.

Both are of the NIST Biometric Image Software (Watson et al., NISTIR 7392, 2007), here through the
optional package ``nbis-py``. bozorth3 keeps its tables in global variables: one thread a process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from app.core.types import GrayImage
from app.evaluation.baseline import BASELINE_DPI, Failure, Template
from app.evaluation.pgm import pgm_file

HOW_TO_INSTALL = (
    "it comes with `make evaluate` and `make test`, or install it with `pip install nbis-py`"
)
# All templates of a large set stay parsed: a probe meets them all.
_PARSED = 4096


@dataclass(frozen=True, slots=True)
class NbisBaseline:
    """mindtct and bozorth3; templates are records of ISO/IEC 19794-2:2005."""

    name: str = "nbis"

    def extract(self, image: GrayImage) -> Template | Failure:
        """Minutiae of a print, uint8 [H, W] at 500 dpi; a print without any is a failure."""
        nbis = require_nbis()
        try:
            minutiae = _extractor().extract_minutiae(pgm_file(image))
        except (nbis.NbisError, nbis.InternalError) as error:
            return Failure(f"mindtct refuses the image: {error!r}")
        if not minutiae.get():
            return Failure("mindtct finds no minutiae")
        return bytes(minutiae.to_iso_19794_2_2005())

    def compare(self, probe: Template, reference: Template) -> float:
        """bozorth3's score: 0 upwards, about the number of minutiae that agree."""
        return float(_parsed(probe).compare(_parsed(reference)))


def require_nbis() -> Any:
    """The package.

    Raises:
        ImportError: it is not installed, or does not load here; the message says what to do.
    """
    try:
        from nbis import nbis
    except (ImportError, OSError) as error:
        raise ImportError(
            f"the package nbis-py cannot be loaded ({error}); {HOW_TO_INSTALL}"
        ) from error
    return nbis


@cache
def _extractor() -> Any:
    nbis = require_nbis()
    settings = nbis.NbisExtractorSettings(
        min_quality=0.0,
        get_center=False,
        check_fingerprint=False,
        compute_nfiq2=False,
        ppi=float(BASELINE_DPI),
    )
    return nbis.new_nbis_extractor(settings)


@lru_cache(_PARSED)
def _parsed(template: Template) -> Any:
    return _extractor().load_iso_19794_2_2005(template)
