"""``python -m app.cli.side_by_side`` draws the figures of docs/synthetic-prints.md anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from PIL.Image import Image

from app.cli.display import console, refusing, say
from app.cli.side_by_side.figures import (
    beside,
    distributions_png,
    normalised_tile,
    raw_tile,
    sheet,
)
from app.cli.side_by_side.measures import MEASURES, Comparison, Measured, compare, measure
from app.cli.side_by_side.prints import IMPRESSIONS, Print, real_prints, synthetic_prints
from app.core.errors import InvalidInput
from app.settings import Settings

BEGIN, END = "<!-- distances:begin -->", "<!-- distances:end -->"
# Below a folder that is never committed and of which no image is made.
PRIVATE = Path("build/side-by-side")
ROWS, COLUMNS = 6, 4
PUBLIC_ROWS, PUBLIC_COLUMNS = 3, 6
# Fewer grey levels than the eye tells apart in print, and half of the bytes.
PUBLIC_LEVELS = 32
PAIRS = 6


@dataclass(frozen=True, slots=True)
class Page:
    """A page with a table that is written anew.

    Attributes:
        path: the page; its pictures lie in the folder of its name.
        before, after: its text around the table.
    """

    path: Path
    before: str
    after: str

    @classmethod
    def read(cls, path: Path) -> Page:
        """Find the place of the table, before minutes of work.

        Raises:
            InvalidInput: the page has no such place (``no_distances_block``).
        """
        before, begin, rest = path.read_text("utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise InvalidInput(
                f"{path} must have one line {BEGIN} and one line {END} after it",
                slug="no_distances_block",
            )
        return cls(path, before + begin, end + after)

    def write(self, table: str) -> None:
        """Put the new table into its place."""
        self.path.write_text(f"{self.before}\n{table}\n{self.after}", "utf-8")


@refusing()
def draw(
    page: Annotated[Path, typer.Option(help="Page whose table and pictures are written.")] = Path(
        "docs/synthetic-prints.md"
    ),
    private: Annotated[
        Path, typer.Option(help="Folder for the sheets with real prints; never to be shared.")
    ] = PRIVATE,
    per_set: Annotated[int, typer.Option(help="Prints of each real set.", min=ROWS)] = 30,
) -> None:
    """Draw synthetic prints beside the real ones under WHORL_DATASETS, and measure both."""
    screen, known = console(), Page.read(page)
    sets: dict[str, list[Print]] = defaultdict(list)
    for one in real_prints(Settings().datasets, per_set):
        sets[one.source].append(one)
    count = sum(map(len, sets.values()))
    synthetic = list(synthetic_prints(count))
    draw_private(private, [one for prints in sets.values() for one in prints], synthetic)
    say(screen, f"real beside synthetic: {private} (people's biometrics: look, do not pass on)")
    real = {name: measure(prints) for name, prints in sets.items()}
    publish(known, real, measure(synthetic), synthetic)
    say(screen, f"without real prints: {page} and {page.with_suffix('')}")


def draw_private(folder: Path, real: Sequence[Print], synthetic: Sequence[Print]) -> None:
    """Sheets of both kinds beside each other, as captured and as the encoder sees them."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [_spread(prints, ROWS * COLUMNS) for prints in (real, synthetic)]
    for name, tile in (("raw", raw_tile), ("normalised", normalised_tile)):
        left, right = (
            sheet([tile(one) for one in prints], COLUMNS, title)
            for prints, title in zip(chosen, ("real", "synthetic"), strict=True)
        )
        beside(left, right).save(folder / f"{name}.png", optimize=True)


def publish(
    page: Page, real: Mapping[str, Measured], made: Measured, synthetic: Sequence[Print]
) -> None:
    """Pictures of synthetic prints, and figures about both kinds: no real print comes in here."""
    folder = page.path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = _spread(synthetic, PUBLIC_ROWS * PUBLIC_COLUMNS)
    for name, tile in (("raw", raw_tile), ("normalised", normalised_tile)):
        _save(sheet([tile(one) for one in chosen], PUBLIC_COLUMNS), folder / f"{name}.png")
    pairs = [
        tile(one)
        for finger in range(min(PAIRS, len(synthetic) // IMPRESSIONS))
        for one in synthetic[finger * IMPRESSIONS : finger * IMPRESSIONS + 2]
        for tile in (raw_tile, normalised_tile)
    ]
    _save(sheet(pairs, 4), folder / "same-finger.png")
    compared = compare(list(real.values()), made)
    (folder / "distributions.png").write_bytes(distributions_png(real, made, compared))
    page.write(distance_table(compared))


def distance_table(compared: Mapping[str, Comparison]) -> str:
    """A row a measure, in Markdown."""
    head = "| measure | real: 10 %, median, 90 % | synthetic | distance | between real sets |"
    rows = [
        f"| {MEASURES[key]} | {_three(found.real)} | {_three(found.synthetic)} "
        f"| {found.distance:.2f} | {found.between_sets:.2f} |"
        for key, found in compared.items()
    ]
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def _save(page: Image, path: Path) -> None:
    page.quantize(PUBLIC_LEVELS).save(path, optimize=True)


def _three(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _spread(prints: Sequence[Print], count: int) -> list[Print]:
    """``count`` of them, evenly spread, so that each source is seen."""
    count = min(count, len(prints))
    return [prints[(2 * k + 1) * len(prints) // (2 * count)] for k in range(count)]


if __name__ == "__main__":
    typer.run(draw)
