"""``whorl enroll``, ``verify`` and ``identify``: recognition in this process, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from app.cli.display import (
    NEGATIVE,
    DpiOption,
    GalleryOption,
    JsonOption,
    console,
    emit,
    facts,
    refusing,
    say,
    table,
)
from app.cli.recipe_option import RecipeOption
from app.core.errors import InvalidInput
from app.core.json_ready import json_ready
from app.core.types import FingerPosition, Quality
from app.settings import Settings

if TYPE_CHECKING:
    from app.services.outcomes import Comparison, Enrolment, Identification, Verification

STYLES = {"match": "bold green", "no_match": "bold red", "inconclusive": "bold yellow"}


@refusing()
def enroll(
    person: Annotated[str, typer.Argument(help="Id of the person; created where unknown.")],
    images: Annotated[list[Path], typer.Argument(help="1 to 10 images of one finger.")],
    finger: Annotated[
        int,
        typer.Option(
            help="Position code: 0 unknown, 1 right thumb .. 5 right little, 6 left thumb .. 10.",
            min=0,
            max=10,
        ),
    ] = 0,
    dpi: DpiOption = None,
    gallery: GalleryOption = "default",
    on_duplicate: Annotated[
        Literal["reject", "warn", "allow"],
        typer.Option(help="What to do where the finger is enrolled under another person."),
    ] = "reject",
    recipe: RecipeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol images of one finger in the home folder's store; a running server sees them at once.

    Example: whorl enroll alice 101_1.png 101_2.png --finger 2 --dpi 500

    Exit code: 0 when at least one image was enrolled, 2 when none was.
    """
    screen, settings = console(), Settings()
    files = tuple(path.read_bytes() for path in images)
    with screen.status("Loading the model"):
        from app.bootstrap.home import open_home
        from app.cli.home import ACTOR, open_recognition
        from app.services.enroll import EnrolRequest
        from app.services.enroll import enroll as enrol_finger
        from app.services.outcomes import OnDuplicate

        with open_home(settings) as home, open_recognition(settings, home, None, recipe) as ctx:
            request = EnrolRequest(gallery, person, finger, files, dpi, OnDuplicate(on_duplicate))
            outcome = enrol_finger(ctx, ACTOR, request)
    _show_enrolment(screen, outcome, images)
    if as_json:
        emit({"person_id": outcome.person_id} | _fields(outcome))


@refusing()
def verify(
    images: Annotated[list[Path], typer.Argument(help="Two images; with --person one, the probe.")],
    person: Annotated[
        str | None, typer.Option(help="Compare with this enrolled person instead.")
    ] = None,
    finger: Annotated[
        int | None, typer.Option(help="Only this finger of the person.", min=0, max=10)
    ] = None,
    gallery: GalleryOption = "default",
    dpi: DpiOption = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            help="False match rate to decide at. Default: 0.0001, or the strictest rate that the "
            "model's calibration supports."
        ),
    ] = None,
    recipe: RecipeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide whether two images show one finger, or whether an image shows an enrolled person.

    Example: whorl verify 101_1.png 101_2.png --dpi 500

    Example: whorl verify --person alice 101_3.png --dpi 500

    Two images are compared with nothing stored and no server. Exit code: 0 match, 1 no match or
    inconclusive, 2 when the question cannot be answered.
    """
    wanted = 2 if person is None else 1
    if len(images) != wanted:
        raise InvalidInput(
            f"{len(images)} images were given, {wanted} are wanted: either two images, or "
            "--person and one",
            slug="invalid_image_count",
        )
    screen, settings = console(), Settings()
    files = [path.read_bytes() for path in images]
    with screen.status("Loading the model"):
        from app.cli.home import ACTOR, existing_home, open_recognition
        from app.services.compare import CompareRequest, compare_images
        from app.services.verify import VerifyRequest
        from app.services.verify import verify as verify_person

        outcome: Comparison | Verification
        with (
            existing_home(settings) as home,
            open_recognition(settings, home, None, recipe) as ctx,
        ):
            if person is None:
                outcome = compare_images(ctx, ACTOR, CompareRequest(files[0], files[1], dpi, fmr))
            else:
                request = VerifyRequest(gallery, files[0], person, None, finger, dpi, fmr)
                outcome = verify_person(ctx, ACTOR, request)
    _show_decision(screen, outcome, images)
    if as_json:
        emit(_fields(outcome))
    _exit_with(outcome.decision)


@refusing()
def identify(
    image: Annotated[Path, typer.Argument(help="The probe.")],
    fpir: Annotated[
        float | None,
        typer.Option(
            help="False positive identification rate. Default: 0.001, or the strictest rate "
            "supported at the gallery's size."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Longest candidate list.", min=1, max=100)] = 5,
    gallery: GalleryOption = "default",
    dpi: DpiOption = None,
    recipe: RecipeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search a gallery for the person an image shows.

    Example: whorl identify 101_3.png --dpi 500 --limit 3

    Exit code: 0 with at least one candidate, 1 with none, 2 when the question cannot be answered.
    """
    screen, settings = console(), Settings()
    data = image.read_bytes()
    with screen.status("Loading the model"):
        from app.cli.home import ACTOR, existing_home, open_recognition
        from app.services.identify import IdentifyRequest
        from app.services.identify import identify as search

        with (
            existing_home(settings) as home,
            open_recognition(settings, home, None, recipe) as ctx,
        ):
            outcome = search(ctx, ACTOR, IdentifyRequest(gallery, data, dpi, limit, fpir))
    _show_candidates(screen, outcome, image)
    if as_json:
        emit(_fields(outcome))
    _exit_with(outcome.decision)


def quality_words(quality: Quality | None) -> str:
    """The score, and what cost points."""
    if quality is None:
        return "-"
    return " ".join([str(quality.score), *(f"({reason})" for reason in quality.reasons)])


def _fields(outcome: object) -> dict[str, object]:
    made: dict[str, object] = json_ready(outcome)
    return made


def _exit_with(decision: str) -> None:
    if decision != "match":
        raise typer.Exit(NEGATIVE)


def _show_enrolment(screen: Console, outcome: Enrolment, images: list[Path]) -> None:
    stored = sum(image.template_id is not None for image in outcome.images)
    position = FingerPosition(outcome.finger).name.lower().replace("_", " ")
    say(
        screen,
        f"{outcome.person_id}, finger {outcome.finger} ({position}), gallery {outcome.gallery}: "
        f"{stored} of {len(outcome.images)} images enrolled under model {outcome.model_id}",
        "bold green",
    )
    rows = [
        (
            images[image.index],
            image.template_id or "refused",
            quality_words(image.quality),
            "" if image.problem is None else f"{image.problem.slug}: {image.problem.detail}",
        )
        for image in outcome.images
    ]
    screen.print(table(["Image", "Template", "Quality", "Problem"], rows))
    for other in outcome.duplicates:
        say(screen, f"also enrolled as {other.person_id}, finger {other.finger}", "yellow")


def _show_decision(screen: Console, outcome: Comparison | Verification, images: list[Path]) -> None:
    from app.services.outcomes import Comparison

    decision = Text(outcome.decision.replace("_", " "), STYLES[outcome.decision])
    rows: list[tuple[str, object]] = [
        ("Decision", decision),
        ("Score", f"{outcome.score:.4f}"),
        ("Threshold", f"{outcome.threshold:.4f}"),
        ("FMR", f"{outcome.fmr:.3g}"),
    ]
    if isinstance(outcome, Comparison):
        qualities = (outcome.quality_a, outcome.quality_b)
    else:
        qualities = (outcome.quality, outcome.quality)
        if outcome.finger is not None:
            rows.append(("Finger", outcome.finger))
    for path, quality in zip(images, qualities, strict=False):
        rows.append((f"Quality of {path.name}", quality_words(quality)))
    rows.append(("Model", outcome.model_id))
    screen.print(facts(rows))


def _show_candidates(screen: Console, outcome: Identification, image: Path) -> None:
    say(screen, outcome.decision.replace("_", " "), STYLES[outcome.decision])
    if outcome.candidates:
        rows = [
            (c.rank, c.person_id, c.finger, f"{c.score:.4f}", c.template_id)
            for c in outcome.candidates
        ]
        screen.print(table(["Rank", "Person", "Finger", "Score", "Template"], rows))
    say(
        screen,
        f"{outcome.gallery_size} templates searched at FPIR {outcome.fpir:.3g} "
        f"(threshold {outcome.threshold:.4f}), quality of {image.name} "
        f"{quality_words(outcome.quality)}, model {outcome.model_id}",
    )
