"""What runs of recipes leave on disk: records, pictures, and the page that tells of them."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.page_blocks import with_block, with_section
from app.core.errors import InvalidInput

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from app.evaluation.run_record import RunRecord
    from app.learning.siamese.recipe import SiameseRecipe

RUNS = "runs"
OWN_COMMAND = "`whorl recipes run FILE.json`"
SHEET = "sheet-"
DRAWN = "stripes"
"""Kind of data whose pictures are nobody's."""


@dataclass(frozen=True, slots=True)
class RunFolders:
    """Where runs go.

    Attributes:
        out: records, curves; beside it the page of the same name.
        pictures: pictures of the data, which is people's and must not be published.
    """

    out: Path
    pictures: Path

    @property
    def page(self) -> Path:
        """The Markdown page whose blocks are written."""
        return self.out.with_name(f"{self.out.name}.md")

    def record(self, name: str, seed: int) -> Path:
        """File of a run's record."""
        return self.out / RUNS / f"{name}-{seed}.json"

    def kept(
        self, recipe: SiameseRecipe, seconds: float = math.inf, epochs: int | None = None
    ) -> RunRecord | None:
        """The record of a run of just this recipe, its seed included; None where there is none.

        Args:
            seconds, epochs: limits of the run that is asked for. A record that was cut short is
                none where they would let the fit go on further.

        Raises:
            InvalidInput: the file holds something else (``broken_run``).
        """
        from app.evaluation.run_record import RunRecord

        path = self.record(recipe.name, recipe.schedule.seed)
        if not path.is_file():
            return None
        found = RunRecord.read(path)
        whole = found.is_of(recipe.to_dict()) and found.reaches(seconds, epochs)
        return found if whole else None

    def write_sheet(self, recipe: SiameseRecipe, name: str, png: bytes) -> None:
        """Keep a picture of data; only that of drawn data may also lie beside the page."""
        places = [self.pictures / f"{recipe.name}-{recipe.schedule.seed}" / name]
        if recipe.data.kind == DRAWN and recipe.schedule.seed == 1:
            places.append(self.out / f"{recipe.name}-{SHEET}{name}")
        for path in places:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)


def records_of(
    folders: RunFolders, known: Mapping[str, SiameseRecipe]
) -> dict[str, list[RunRecord]]:
    """The runs of every recipe as it is now, by seed; those of a recipe that has changed are left.

    What a recipe says for readers is taken from the code, so that it can be put better later.
    """
    from app.core.json_ready import json_ready
    from app.evaluation.run_record import WORDS, RunRecord
    from app.services.run_recipe import with_seed

    found: dict[str, list[RunRecord]] = {}
    records = [RunRecord.read(path) for path in (folders.out / RUNS).glob("*.json")]
    for record in sorted(records, key=lambda record: record.seed):
        recipe = known.get(record.name)
        if recipe is None:
            continue
        now = with_seed(recipe, record.seed).to_dict()
        if record.is_of(now):
            words = {key: json_ready(now[key]) for key in WORDS if key in now}
            found.setdefault(record.name, []).append(replace(record, recipe=record.recipe | words))
    return found


def write_page(
    folders: RunFolders, known: Mapping[str, SiameseRecipe], of: str | None = None
) -> Path:
    """Draw the curves again and put every section's tables between its marks on the page.

    What stands outside the marks is kept, and so are sections of recipes that are not known, such
    as were brought to another command; one that is not there yet is put at the end.
    Several runs may do so side by side: one waits for the other, and then reads what it left. The
    page is replaced at once or not at all.

    Args:
        known: the built-in recipes and those that were brought, by name.
        of: a recipe's name; only what tells of it is written.

    Raises:
        InvalidInput: a record is none (``broken_run``), or marks do not pair (``no_block``).
        OSError: a file cannot be read or written.
    """
    page = folders.page
    page.parent.mkdir(parents=True, exist_ok=True)
    with _alone(page.parent):
        runs, blocks = records_of(folders, known), {}
        for section, names in sections(known, runs).items():
            if of is None or of in names:
                ran = {name: runs[name] for name in names}
                blocks[section] = _content(section, ran, folders)
        # Curves take seconds: prose that somebody writes meanwhile must not be lost.
        text = page.read_text("utf-8") if page.is_file() else "# Recipes\n"
        for section, content in blocks.items():
            text = with_block(with_section(text, section), section, content, page)
        _replace(page, text.encode())
    return page


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here; where a system cannot lock a folder, go on."""
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _replace(path: Path, data: bytes) -> None:
    """Write a file at once or not at all."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        fresh.write_bytes(data)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _content(system: str, ran: Mapping[str, list[RunRecord]], folders: RunFolders) -> str:
    from app.evaluation.recipe_curves import system_curves
    from app.evaluation.recipe_tables import commands, system_block
    from app.learning.recipe_book import RECIPE_BOOK

    folders.out.mkdir(parents=True, exist_ok=True)
    curves = dict(system_curves(system, ran))
    for name, png in curves.items():
        _replace(folders.out / f"{name}.png", png)
    sheets = [path.stem for name in ran for path in folders.out.glob(f"{name}-{SHEET}*.png")]
    block = system_block(ran, folders.out.name, [*curves, *sorted(sheets)])
    built_in = ran.keys() <= RECIPE_BOOK.keys()
    return f"{block}\nMeasured by {commands(ran) if built_in else OWN_COMMAND}."


def sections(known: Iterable[str], ran: Collection[str]) -> dict[str, list[str]]:
    """What the sections of the page tell of: names of recipes that have been run.

    A built-in system has one, of built-in recipes only, so that it is the same whatever else a
    command was given. A recipe of one's own has one, which it shares with its own ``-original``,
    and in which the built-in recipes of the system that its name begins with stand beside it.
    """
    from app.learning.recipe_book import RECIPE_BOOK

    built_in = systems(name for name in known if name in RECIPE_BOOK)
    own = [name for name in known if name not in RECIPE_BOOK and name in ran]
    paired = systems(own)
    alone = sorted(set(own) - {name for names in paired.values() for name in names})
    found = dict(built_in)
    for section, names in (paired | {name: [name] for name in alone}).items():
        kin = (built_in[system] for system in built_in if section.startswith(f"{system}-"))
        found[section] = [*next(kin, []), *names]
    told = {section: [name for name in names if name in ran] for section, names in found.items()}
    return {section: names for section, names in told.items() if names}


def systems(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of the recipes of every system, its original first and then the one of its name.

    A system is what an ``-original`` is of; every recipe whose name begins with it belongs to it.
    """
    listed = sorted(names)
    known = [name.removesuffix("-original") for name in listed if name.endswith("-original")]
    return {
        system: sorted(
            (name for name in listed if name == system or name.startswith(f"{system}-")),
            key=partial(_place, system),
        )
        for system in known
    }


def _place(system: str, name: str) -> tuple[bool, bool, str]:
    return name != f"{system}-original", name != system, name


def chosen(names: Sequence[str], known: Mapping[str, SiameseRecipe]) -> list[SiameseRecipe]:
    """The recipes of these names; of ``all`` or none every one, system by system.

    Raises:
        InvalidInput: there is no such recipe (``unknown_recipe``).
    """
    ordered = [name for listed in systems(known).values() for name in listed]
    ordered += [name for name in known if name not in ordered]
    wanted = dict.fromkeys(ordered if not names or "all" in names else names)
    for name in wanted:
        if name not in known:
            raise InvalidInput(
                f"there is no recipe {name!r} of pictures; there are {', '.join(ordered)}",
                slug="unknown_recipe",
            )
    return [known[name] for name in wanted]
