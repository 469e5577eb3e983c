"""What ``whorl evaluate`` is asked: which sets, which other matchers, which altered probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.errors import InvalidInput
from app.settings import Settings

if TYPE_CHECKING:
    from app.evaluation.alteration import Alteration
    from app.evaluation.baseline import Baseline

ALL_COMMAND = "whorl evaluate --all"


@dataclass(frozen=True, slots=True)
class PrintSet:
    """A folder of labelled prints, and the resolution of those that do not say theirs."""

    name: str
    folder: Path
    dpi: float | None


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured on each set besides the model as it is.

    Attributes:
        pattern: of the file names; None tries those of the public sets.
        baselines: other matchers on the same pairs.
        alterations: what is done to the probes in passes of their own.
        command: that asks all this of the public sets.
    """

    pattern: str | None
    baselines: tuple[Baseline, ...]
    alterations: tuple[Alteration, ...]
    command: str


KNOWN_SETS = (
    PrintSet("FVC2000 DB2_B", Path("FVC2000/DB2_B"), 500.0),
    PrintSet("FVC2002 DB1_B", Path("FVC2002/DB1_B"), 500.0),
    PrintSet("FVC2004 DB1_B", Path("FVC2004/DB1_B"), 500.0),
    PrintSet("Neurotechnology CrossMatch", Path("Neurotechnology/CrossMatch"), 500.0),
    PrintSet("Neurotechnology UareU", Path("Neurotechnology/UareU"), 500.0),
    PrintSet("UPEK", Path("UPEK"), 500.0),
)
"""The public sets with several impressions a finger, below WHORL_DATASETS."""


def asked_question(
    pattern: str | None,
    baselines: Sequence[str],
    rotate_probe_deg: float | None,
    partial_probe: float | None,
) -> Question:
    """What the options ask for.

    Raises:
        InvalidInput: there is no such baseline, or its package is missing.
    """
    from app.evaluation.alteration import PartlyShown, Turned

    alterations: list[Alteration] = []
    words = [ALL_COMMAND, *(f"--baseline {name}" for name in dict.fromkeys(baselines))]
    if rotate_probe_deg is not None:
        alterations.append(Turned(rotate_probe_deg))
        words.append(f"--rotate-probe {rotate_probe_deg:g}")
    if partial_probe is not None:
        alterations.append(PartlyShown(partial_probe))
        words.append(f"--partial-probe {partial_probe:g}")
    found = tuple(_baseline(name) for name in dict.fromkeys(baselines))
    return Question(pattern, found, tuple(alterations), " ".join(words))


def _baseline(name: str) -> Baseline:
    from app.evaluation.nbis import NbisBaseline, require_nbis

    if name != "nbis":
        raise InvalidInput(f"there is no baseline {name!r}; nbis is one", slug="unknown_baseline")
    try:
        require_nbis()
    except ImportError as error:
        raise InvalidInput(str(error), slug="baseline_not_installed") from error
    return NbisBaseline()


def asked_sets(
    settings: Settings, folders: Sequence[Path], dpi: float | None, name: str | None
) -> tuple[list[PrintSet], list[PrintSet]]:
    """The sets to measure, and the known ones that are not on this machine."""
    if folders:
        for folder in folders:
            if not folder.is_dir():
                raise InvalidInput(f"there is no folder {folder}", slug="folder_not_found")
        named = [name] if name else _names(folders)
        sets = [PrintSet(n, f, dpi) for n, f in zip(named, folders, strict=True)]
        return sets, []
    root = settings.datasets
    known = [PrintSet(s.name, root / s.folder, s.dpi) for s in KNOWN_SETS]
    found = [s for s in known if s.folder.is_dir()]
    if not found:
        raise InvalidInput(
            f"none of the public sets is under {root}; set WHORL_DATASETS", slug="sets_not_found"
        )
    return found, [s for s in known if s not in found]


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of folders; their whole paths where the last part does not tell them apart."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [folder.as_posix() for folder in folders]
