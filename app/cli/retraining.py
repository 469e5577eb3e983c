"""``python -m app.cli.retraining`` shows what a site gains by training on its own captures.

The first scans of some persons of ``Neurotechnology/UareU`` become a data set, all scans of the
others the benchmark; the shipped model is tuned as a job would tune it, in a home folder of its
own, and both models are measured on whom neither has seen: ``make retraining``.
"""

from __future__ import annotations

import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import TaskID

from app.bootstrap.datasets import dataset_tools
from app.bootstrap.home import open_home
from app.bootstrap.training import open_training
from app.cli.display import console, progress, refusing
from app.cli.evaluation_files import figures_of
from app.cli.home import ACTOR, existing_home, open_recognition
from app.cli.machine import facts_table, machine_facts
from app.cli.page_blocks import require_block, with_block
from app.cli.training_display import training_display
from app.core.json_ready import json_text
from app.evaluation.dataset import LabelledImage, parse_names
from app.evaluation.plots import det_png
from app.evaluation.tables import markdown, percent
from app.learning.folders import place_of
from app.networks.device import find_device
from app.services.create_dataset import create_dataset
from app.services.evaluate_folder import FolderEvaluation, Report, evaluate_folder
from app.services.train_model import TrainingOutcome, train_model
from app.services.training_spec import TrainingSpec
from app.settings import Settings

SITE = Path("Neurotechnology/UareU")
ELSEWHERE = ("FVC2002/DB1_B", "FVC2000/DB2_B", "FVC2004/DB1_B", "UPEK")
DPI = 500.0
RECIPE, BLOCK = "fine-tune", "retraining"
Measured = Sequence[FolderEvaluation]
PAGE, OUT = Path("docs/retraining.md"), Path("docs/retraining")


@dataclass(frozen=True, slots=True)
class Split:
    """A site's captures.

    Attributes:
        learned: the first scans of the fingers that are learned from.
        others: all scans of the fingers of other persons.
    """

    learned: tuple[LabelledImage, ...]
    others: tuple[LabelledImage, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A training that was run.

    Attributes:
        champion: id of the model that it began with.
        seconds: of each phase, in their order.
    """

    champion: str
    outcome: TrainingOutcome
    seconds: dict[str, float]


class _Stopwatch:
    """Takes a training's progress: how long each phase took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase, self._began = "starting", time.monotonic()

    def __call__(self, at: dict[str, Any]) -> None:
        if at["phase"] != self._phase:
            self.stop()
            self._phase = at["phase"]

    def stop(self) -> None:
        """End the running phase."""
        now = time.monotonic()
        self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._began
        self._began = now


def split_site(images: Sequence[LabelledImage], fingers: int, scans: int) -> Split:
    """Part a site's captures by person, in the order of ``folders.place_of``.

    Args:
        fingers: at least so many are learned from, and no person is parted.
        scans: of each of them, the first by name.
    """
    learned: set[str] = set()
    chosen: set[str] = set()
    for subject in sorted({image.subject for image in images}, key=place_of):
        if len(learned) >= fingers:
            break
        chosen.add(subject)
        learned |= {image.finger for image in images if image.subject == subject}
    firsts: list[LabelledImage] = []
    for finger in sorted(learned):
        of_one = sorted((one for one in images if one.finger == finger), key=lambda one: one.path)
        firsts += of_one[:scans]
    others = tuple(image for image in images if image.subject not in chosen)
    return Split(tuple(firsts), others)


@refusing()
def retraining(
    fingers: Annotated[int, typer.Option(help="Fingers to learn from.", min=4)] = 35,
    scans: Annotated[int, typer.Option(help="Scans of each of them.", min=2)] = 4,
    page: Annotated[Path, typer.Option(help="Page with the block to replace.")] = PAGE,
    out: Annotated[Path, typer.Option(help="Folder for the figures and the plot.")] = OUT,
) -> None:
    """Tune the shipped model to the sensor of a public set, and measure it there and elsewhere."""
    require_block(page.read_text("utf-8"), BLOCK, page)
    screen, datasets = console(), Settings().datasets
    found = parse_names(sorted(p for p in (datasets / SITE).rglob("*") if p.is_file()), None)
    split = split_site(found.images, fingers, scans)
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings().model_copy(update={"home": Path(scratch) / "home"})
        tuned = tune(settings, split, screen)
        site = Path(scratch) / "others"
        link(site, split.others)
        folders = {f"{SITE}, other fingers": site} | {one: datasets / one for one in ELSEWHERE}
        before, after = (
            measured(settings, model_id, folders, screen)
            for model_id in (tuned.champion, tuned.outcome.model_id)
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / "retraining.json").write_text(json_text(figures(split, tuned, before, after)), "utf-8")
    (out / "det.png").write_bytes(det(before, after))
    command = f"python -m app.cli.retraining --fingers {fingers} --scans {scans}"
    block = retraining_block(split, tuned, before, after, command)
    page.write_text(with_block(page.read_text("utf-8"), BLOCK, block, page), "utf-8")


def tune(settings: Settings, split: Split, screen: Console) -> Tuned:
    """Upload both data sets into the home folder and train as a job would."""
    learned, others = (_dataset(settings, part) for part in (split.learned, split.others))
    spec = TrainingSpec(RECIPE, data="datasets", datasets=[learned], benchmark=[others])
    watch = _Stopwatch()
    with open_training(settings, None, None, None) as tools, training_display(screen) as display:

        def sink(at: dict[str, Any]) -> None:
            watch(at)
            display(at)

        outcome = train_model(tools, spec, sink)
        watch.stop()
    return Tuned(outcome.compared_with or "", outcome, watch.seconds)


def _dataset(settings: Settings, images: Iterable[LabelledImage]) -> str:
    with tempfile.TemporaryDirectory() as folder, open_home(settings) as home:
        archive = Path(folder) / "prints.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for image in images:
                packed.write(image.path, image.path.name)
        tools = dataset_tools(settings, home)
        return create_dataset(tools, ACTOR, archive, name=str(SITE), dpi=DPI).id


def link(folder: Path, images: Iterable[LabelledImage]) -> None:
    """Make a folder of some images alone, without a copy of them."""
    folder.mkdir()
    for image in images:
        (folder / image.path.name).symlink_to(image.path.resolve())


def measured(
    settings: Settings, model_id: str, folders: dict[str, Path], screen: Console
) -> list[FolderEvaluation]:
    """Error rates of a model on folders of prints, by the name that each gets in reports."""
    with (
        existing_home(settings) as home,
        open_recognition(settings, home, model_id, None) as ctx,
        _told(screen) as tell,
    ):
        return [
            evaluate_folder(
                ctx.models.active(),
                folder,
                dpi=DPI,
                pattern=None,
                minimum_quality=ctx.minimum_quality,
                name=name,
                report=tell,
            )
            for name, folder in folders.items()
        ]


@contextmanager
def _told(screen: Console) -> Iterator[Report]:
    with progress(screen) as shown:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks or done == 1:
                tasks[what] = shown.add_task(what)
            shown.update(tasks[what], completed=done, total=of)

        yield tell


def figures(
    split: Split,
    tuned: Tuned,
    before: Sequence[FolderEvaluation],
    after: Sequence[FolderEvaluation],
) -> dict[str, Any]:
    """Everything that was measured, machine-readable."""
    champion, challenger = tuned.champion, tuned.outcome.model_id
    return {
        "learned": sorted({image.finger for image in split.learned}),
        "learned_samples": len(split.learned),
        "phases_s": tuned.seconds,
        "gate": tuned.outcome.result["gate"],
        "champion": figures_of(before, champion, single=False),
        "challenger": figures_of(after, challenger, single=False),
    }


def det(before: Measured, after: Measured) -> bytes:
    """PNG: the site's DET curves of both models."""
    name = before[0].evaluation.name
    return det_png(
        {"tuned to the site": after[0].measured.scores},
        name,
        baselines={"as shipped": {"tuned to the site": before[0].measured.scores}},
    )


def retraining_block(
    split: Split, tuned: Tuned, before: Measured, after: Measured, command: str
) -> str:
    """What the page tells of a run, in Markdown."""
    fingers = len({image.finger for image in split.learned})
    gate = tuned.outcome.result["gate"]
    total = sum(tuned.seconds.values())
    longest = [(name, f"{taken:.0f} s") for name, taken in tuned.seconds.items() if taken >= 1.0]
    rows = [
        (old.evaluation.name, *_rates(old, new)) for old, new in zip(before, after, strict=True)
    ]
    columns = ["Set", "EER", "FNMR at FMR 1 %", "FNMR at FMR 0.1 %"]
    facts = machine_facts(find_device(Settings().device))
    return "\n\n".join(
        [
            f"Written by `make retraining` (`{command}`). Learned from: {len(split.learned)} "
            f"captures of {fingers} fingers of {SITE}; model `{tuned.champion}` before, "
            f"`{tuned.outcome.model_id}` after; {total:.0f} s from the order to the published "
            "model. In brackets 95 % intervals of a bootstrap over fingers.",
            markdown(columns, rows),
            "The gate: " + ("better" if gate["better"] else "not better") + ".",
            "\n".join(f"- {reason}" for reason in gate["reasons"]),
            "![DET curves before and after](retraining/det.png)",
            markdown(["Phase", "Time"], longest),
            facts_table(facts),
        ]
    )


def _rates(old: FolderEvaluation, new: FolderEvaluation) -> list[str]:
    one, two = old.evaluation, new.evaluation
    eer = f"{percent(one.eer, one.eer_interval, 2)} -> {percent(two.eer, two.eer_interval, 2)}"
    at = [
        f"{percent(one.fnmr_at_fmr[fmr], digits=2)} -> {percent(two.fnmr_at_fmr[fmr], digits=2)}"
        for fmr in list(one.fnmr_at_fmr)[:2]
    ]
    return [eer, *at]


if __name__ == "__main__":
    typer.run(retraining)
