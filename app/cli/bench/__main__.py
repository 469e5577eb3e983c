"""``python -m app.cli.bench`` measures the service on this machine, for docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from app.bootstrap.recognition import one_thread_a_product, serving_dtype
from app.cli.bench.embedding import embedding_section, encoders
from app.cli.bench.identification import identification_section
from app.cli.bench.others import others
from app.cli.bench.precision import precision_section
from app.cli.bench.preparation import preparation_section
from app.cli.bench.prints import PrintParams, captures
from app.cli.bench.profile import profile_sections
from app.cli.bench.requests import overload_section, request_section
from app.cli.bench.runtimes import runtimes_section
from app.cli.bench.start import start_section
from app.cli.bench.timing import Section
from app.cli.bench.training import training_section
from app.cli.bench.verification import Loop, verification_section
from app.cli.display import console, refusing, say, table
from app.cli.machine import facts_table, machine_facts
from app.evaluation.tables import markdown
from app.imaging.decode import ImageLimits
from app.inference.loading import Loader
from app.networks.device import find_device
from app.networks.restore import restore_pose, verified_manifest
from app.services.recognise import ProbeImage, SampleImage, prepare_capture
from app.settings import Settings
from model_store import Registry

OVERLOADED, TRAINED = 12, 4
"""So many times as long as others: memory grows slowly, and a fit's epochs end now and then."""


class Part(StrEnum):
    """What can be measured by itself; the runtimes only where they are asked for."""

    EMBEDDING = "embedding"
    STAGES = "stages"
    VERIFICATION = "verification"
    REQUESTS = "requests"
    OVERLOAD = "overload"
    IDENTIFICATION = "identification"
    PRECISION = "precision"
    START = "start"
    PROFILE = "profile"
    TRAINING = "training"
    RUNTIMES = "runtimes"


@refusing()
def bench(
    part: Annotated[list[Part] | None, typer.Option(help="Measure only this, or these.")] = None,
    seconds: Annotated[float, typer.Option(help="Seconds a measurement.", min=0.1)] = 5.0,
    page: Annotated[Path | None, typer.Option(help="Page to write, of these parts.")] = None,
) -> None:
    """Measure the shipped model and the service around it, side by side in one run."""
    screen = console()
    sections = []
    wanted = part or [name for name in Part if name is not Part.RUNTIMES]
    for name, measure in _measurements(seconds).items():
        if name not in wanted:
            continue
        say(screen, f"measuring: {name}")
        for section in measure():
            screen.print(table(section.head, section.rows, section.title))
            say(screen, section.says)
            sections.append(section)
    if page is not None:
        parts = "".join(f" --part {name}" for name in part or [])
        command = f"python -m app.cli.bench{parts} --seconds {seconds:g} --page {page}"
        page.parent.mkdir(parents=True, exist_ok=True)
        by = f"`{command}`" if part else f"`make bench` (`{command}`)"
        page.write_text(bench_page(sections, by), "utf-8")


def _measurements(seconds: float) -> dict[Part, Callable[[], list[Section]]]:
    """What measures each part, in the order of the page."""
    settings, device = Settings(), find_device(Settings().device)
    one_thread_a_product()
    registry = Registry(settings.shipped_dir)
    manifest = verified_manifest(registry, registry.ids()[-1])
    dtype = serving_dtype(settings, device)
    forms = encoders(registry, manifest, dtype)
    loader = Loader(registry, device, dtype=dtype, runtime=settings.runtime)
    model = loader.load(manifest.id)
    shown = captures(settings.datasets)
    loop = Loop.of(model, shown)
    samples = [
        prepare_capture(
            SampleImage(data, shown.dpi, None, ImageLimits()), model.preparation
        ).prepared
        for data in shown.all_files
    ]
    pose, params = restore_pose(registry, manifest), PrintParams.of(model)
    probe = ProbeImage(SampleImage(shown.files[0][1], shown.dpi, None, ImageLimits()))
    return {
        Part.EMBEDDING: lambda: [embedding_section(forms, samples, seconds)],
        Part.STAGES: lambda: [preparation_section(model, shown, seconds)],
        Part.VERIFICATION: lambda: [
            verification_section(loop, *others(), seconds, _by_openvino(loader, loop))
        ],
        Part.PROFILE: lambda: profile_sections(shown, settings, seconds),
        Part.START: lambda: [start_section()],
        Part.REQUESTS: lambda: [request_section(loop, shown, seconds)],
        Part.OVERLOAD: lambda: [overload_section(shown, OVERLOADED * seconds)],
        Part.IDENTIFICATION: lambda: [
            identification_section(model, probe.under(model), loop.references, seconds)
        ],
        Part.PRECISION: lambda: [precision_section(forms, pose, params, settings.datasets)],
        Part.TRAINING: lambda: [training_section(device, TRAINED * seconds)],
        Part.RUNTIMES: lambda: [runtimes_section(forms, pose, params, samples, seconds)],
    }


def _by_openvino(loader: Loader, loop: Loop) -> Loop | None:
    """The same verifications with the encoder in OpenVINO, where that is installed."""
    if find_spec("openvino") is None or loader.runtime == "openvino":
        return None
    other = replace(loader, runtime="openvino").load(loop.model.id)
    return replace(loop, model=other)


def bench_page(sections: list[Section], by: str) -> str:
    """All sections and what they were measured on, in Markdown."""
    facts = facts_table(machine_facts(find_device(Settings().device)))
    parts = [
        "# Performance\n",
        f"Written by {by}. Times are of one machine and one run; what carries over is how they "
        "stand to each other. Calls that are compared were timed in turns.\n",
        facts,
    ]
    for section in sections:
        parts += [f"## {section.title}\n", markdown(section.head, section.rows)]
        parts += [f"{section.says}\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    typer.run(bench)
