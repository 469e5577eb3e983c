"""``whorl synth``: prints one can look at, with the truth about each beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from app.cli.display import JsonOption, console, emit, progress, refusing, say
from app.core.types import GrayImage

if TYPE_CHECKING:
    from PIL.Image import Image

    from app.synth import Impression, MasterPrint

TILE_PX = (150, 190)
LABEL_PX = 12
SHEET_FINGERS, SHEET_IMPRESSIONS = 20, 8
IMPRESSION_STREAM = 2


@dataclass(frozen=True, slots=True)
class Order:
    """What to draw, and where."""

    out: Path
    fingers: int
    impressions: int
    seed: int
    dpi: int
    masters: bool
    minutiae: bool = False

    @property
    def files(self) -> int:
        """Images to write, the contact sheet aside."""
        return self.fingers * (self.impressions + self.masters)


@refusing()
def synth(
    out: Annotated[Path, typer.Option(help="Folder to write to; made where missing.")],
    fingers: Annotated[int, typer.Option(help="Fingers to grow.", min=1, max=100_000)] = 10,
    impressions: Annotated[int, typer.Option(help="Impressions of each.", min=1, max=1000)] = 4,
    seed: Annotated[int, typer.Option(help="Same seed, same prints.", min=0)] = 1,
    dpi: Annotated[int, typer.Option(help="Resolution.", min=200, max=600)] = 500,
    masters: Annotated[
        bool, typer.Option("--masters", help="Also write the ridges before anything touched them.")
    ] = False,
    minutiae: Annotated[
        bool, typer.Option("--minutiae", help="Also tell the minutiae; takes twice as long.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic prints: FINGER_IMPRESSION.png, a contact sheet and truth.json.

    Example: whorl synth --out prints --fingers 5 --impressions 3

    Fingers are grown at the resolution asked for: about a second each at 500 dpi, a quarter of
    that at 250. `whorl evaluate` reads the folder as it is. The prints are of nobody.
    """
    screen, order = console(), Order(out, fingers, impressions, seed, dpi, masters, minutiae)
    with progress(screen) as bars:
        task = bars.add_task("drawing prints", total=order.files)
        truth = write_prints(order, lambda: bars.advance(task))
    say(screen, f"{len(truth)} images, sheet.png and truth.json are in {out}")
    if as_json:
        emit({"out": out, "files": [facts["file"] for facts in truth]})


def write_prints(order: Order, wrote: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """Write every image, the contact sheet and the truth, which is also returned.

    Args:
        order: what and where.
        wrote: called after every image.
    """
    import cv2

    cv2.setNumThreads(1)  # small images: threads cost more than they give
    (order.out / "masters" if order.masters else order.out).mkdir(parents=True, exist_ok=True)
    truth: list[dict[str, Any]] = []
    tiles: list[list[Image]] = []
    for facts, image in draw(order):
        _write(order.out / facts["file"], image, order.dpi)
        truth.append(facts)
        _collect(tiles, facts, image)
        wrote()
    contact_sheet(tiles).save(order.out / "sheet.png")
    made = {"seed": order.seed, "dpi": order.dpi, "images": truth}
    (order.out / "truth.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    return truth


def draw(order: Order) -> Iterator[tuple[dict[str, Any], GrayImage]]:
    """Every image with the truth about it, finger after finger; depends on the order alone."""
    from app.synth import impress, population

    grown = population(order.seed, order.fingers, order.dpi)
    for finger, master in enumerate(grown, start=1):
        if order.masters:
            grey = np.clip(127.5 + 127.5 * master.ridges, 0.0, 255.0)
            facts = {"file": f"masters/{finger}.png", "finger": finger, **_of_finger(master)}
            yield facts, grey.astype(np.uint8)
        for number in range(1, order.impressions + 1):
            rng = np.random.default_rng([order.seed, finger, number, IMPRESSION_STREAM])
            made = impress(master, rng)
            facts = {"file": f"{finger}_{number}.png", "finger": finger, "impression": number}
            seen = _of_minutiae(master, made) if order.minutiae else {}
            yield facts | _of_finger(master) | _of_pose(master, made) | seen, made.image


def contact_sheet(rows: Sequence[Sequence[Image]]) -> Image:
    """A row a finger, a column an impression."""
    from PIL import Image

    columns = max(len(row) for row in rows)
    size = (columns * TILE_PX[0], len(rows) * (TILE_PX[1] + LABEL_PX))
    sheet = Image.new("L", size, 255)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (column * TILE_PX[0], row * (TILE_PX[1] + LABEL_PX)))
    return sheet


def _of_finger(master: MasterPrint) -> dict[str, Any]:
    return {
        "pattern": str(master.pattern),
        "finger_seed": master.seed,
        "centre_px": [round(value, 2) for value in master.centre_px],
    }


def _of_pose(master: MasterPrint, made: Impression) -> dict[str, Any]:
    """``to_master`` maps a pixel (x, y, 1) to the master's; the skin's distortion is not in it."""
    from app.synth.truth import pose_of

    pose = pose_of(master, made)
    return {
        "rotation_deg": round(float(made.rotation_deg), 3),
        "core_px": [round(pose.x_px, 2), round(pose.y_px, 2)],
        "to_master": [[round(float(value), 5) for value in line] for line in made.to_master],
    }


def _of_minutiae(master: MasterPrint, made: Impression) -> dict[str, Any]:
    """Those that the finger shows to the sensor; the skin's distortion is not in them either."""
    from app.synth.minutiae import MinutiaKind
    from app.synth.truth import visible_minutiae

    seen = visible_minutiae(master, made)
    rows = zip(seen.points_px, np.rad2deg(seen.directions), seen.kinds, strict=True)
    return {
        "minutiae": [
            {
                "type": MinutiaKind(kind).name.lower(),
                "x_px": round(float(x), 2),
                "y_px": round(float(y), 2),
                "direction_deg": round(float(direction), 1),
            }
            for (x, y), direction, kind in rows
        ]
    }


def _write(path: Path, image: GrayImage, dpi: int) -> None:
    from PIL import Image

    Image.fromarray(image).save(path, "PNG", dpi=(dpi, dpi))


def _collect(tiles: list[list[Image]], facts: dict[str, Any], image: GrayImage) -> None:
    """Keep a small, labelled copy for the sheet, as far as the sheet reaches."""
    from PIL import Image, ImageDraw

    finger, number = facts["finger"], facts.get("impression")
    if number is None or finger > SHEET_FINGERS or number > SHEET_IMPRESSIONS:
        return
    small = Image.fromarray(image)
    small.thumbnail((TILE_PX[0] - 6, TILE_PX[1] - 6))
    tile = Image.new("L", (TILE_PX[0], TILE_PX[1] + LABEL_PX), 255)
    tile.paste(small, (3, LABEL_PX + 3))
    ImageDraw.Draw(tile).text((3, 0), f"{finger}_{number} {facts['pattern']}", fill=0)
    if number == 1:
        tiles.append([])
    tiles[-1].append(tile)
