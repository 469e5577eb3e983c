"""The comparison as a page and as figures for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.compare_encoders.trial import TIMED_BATCH, Trial
from app.cli.machine import facts_table
from app.core.json_ready import json_text
from app.evaluation.report import Evaluation
from app.evaluation.tables import markdown, percent

PAGE, FIGURES = "encoders.md", "encoders.json"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trials have in common.

    Attributes:
        command: that made them.
        facts: by name, for people: of the training, then of the machine.
    """

    command: str
    facts: dict[str, str]


def write_comparison(out: Path, setting: Setting, trials: Sequence[Trial]) -> None:
    """Write both files into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {
        "command": setting.command,
        "facts": setting.facts,
        "variants": [trial.to_dict() for trial in trials],
    }
    (out / FIGURES).write_text(json_text(figures), "utf-8")
    (out / PAGE).write_text(comparison_page(setting, trials), "utf-8")


def comparison_page(setting: Setting, trials: Sequence[Trial]) -> str:
    """The page; rates are those of all pairs of a set."""
    parts = [
        "# Encoders beside each other\n",
        f"Written by `make compare-encoders` (`{setting.command}`), with the figures for programs "
        f"in [{FIGURES}]({FIGURES}). Every variant begins with fresh weights and is trained for "
        "the same number of batches on the same fingers and the same impressions of them, then "
        "searched for at the same rotations, without a pose network. The fits are short: they rank "
        "the variants, a long one ends at lower rates.\n",
        facts_table(setting.facts),
        "## Size and speed\n",
        _size_table(trials),
        f"Milliseconds: one sample through the encoder, in a batch of {TIMED_BATCH}; the median. "
        "Loss: mean over the last epoch, not comparable between losses.\n",
        "## EER\n",
        _rate_table(trials, lambda found: percent(found.eer, found.eer_interval)),
        "All pairs; in brackets 95 % intervals of a bootstrap over fingers.\n",
        "## FNMR at FMR 1 %\n",
        _rate_table(trials, _fnmr),
    ]
    return "\n".join(parts)


def _size_table(trials: Sequence[Trial]) -> str:
    rows = [
        [
            trial.variant.name,
            " x ".join(str(side) for side in trial.grid),
            f"{trial.parameters:,}",
            f"{trial.descriptor_bytes:,}",
            f"{trial.ms_per_sample:.2f}",
            f"{trial.images_per_s:.0f}",
            f"{trial.final_loss:.3f}",
        ]
        for trial in trials
    ]
    head = ["Variant", "Grid", "Parameters", "Descriptor (bytes)", "ms a sample"]
    return markdown([*head, "Images a second in training", "Final loss"], rows)


def _rate_table(trials: Sequence[Trial], shown: Callable[[Evaluation], str]) -> str:
    names = list(dict.fromkeys(name for trial in trials for name in trial.evaluations))
    rows = [
        [trial.variant.name, *(shown(trial.evaluations[name]) for name in names)]
        for trial in trials
    ]
    return markdown(["Variant", *names], rows)


def _fnmr(found: Evaluation) -> str:
    return percent(found.fnmr_at_fmr["0.01"], found.fnmr_intervals.get("0.01"))
