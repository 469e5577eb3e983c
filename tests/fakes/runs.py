"""Records of runs that nobody made."""

from __future__ import annotations

from typing import Any

from app.evaluation.run_record import RunRecord

RECIPE: dict[str, Any] = {
    "name": "dots-original",
    "summary": "dots",
    "data": {"split": "picture", "mixed_conditions": False},
    "schedule": {"epochs": 3, "seed": 1},
    "loss": {"margin": 1.0},
    "protocol": {"one_against_all": False, "enrolled": 1},
    "original": "",
    "wrong": "",
    "changed": "",
    "reported": {"accuracy": 0.9},
}


def run_record(name: str = "dots-original", **changed: Any) -> RunRecord:
    """A run of three epochs with two genuine and two impostor scores."""
    fields: dict[str, Any] = {
        "recipe": RECIPE | {"name": name},
        "seed": 1,
        "made_with": {
            "whorl": "0", "backend": "none", "device": "CPU", "dtype": "float32", "cpus": 2
        },
        "epochs": [
            {"loss": 1.0 / k, "validation_loss": None, "images_per_s": 10.0} for k in (1, 2, 3)
        ],
        "epochs_planned": 3,
        "stopped": "",
        "train_s": 12.0,
        "transfer_s": 0.0,
        "parameters": 1234,
        "multiply_adds": 5_000_000,
        "training_multiply_adds": 15_000_000_000,
        "parts": {
            part: {"pictures": 20, "classes": 4, "subjects": 4}
            for part in ("training", "validation", "test")
        },
        "reading": [],
        "threshold": 0.5,
        "figures": {"pairs": 4.0, "accuracy": 0.75, "precision": 0.667, "recall": 1.0},
        "by_condition": {},
        "counts": [[2, 0], [1, 1]],
        "genuine": [0.6, 0.9],
        "impostor": [0.1, 0.7],
        "search_scores": None,
        "symptoms": [],
    }  # fmt: skip
    return RunRecord(**fields | changed)
