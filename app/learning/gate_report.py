"""The gate's verdict and figures as they are kept with a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.core.json_ready import json_ready, json_text
from app.evaluation.det_points import det_points
from app.learning.gate import (
    GROUP_DRAWN,
    GROUP_GENUINE,
    GROUP_MARGIN,
    LATENCY_FACTOR,
    POLICY_FMR,
    SET_MARGIN,
    GateDecision,
    GateFigures,
)
from app.learning.judge import Judged


@dataclass(frozen=True, slots=True)
class GateReport:
    """A verdict with all it rests on.

    Attributes:
        challenger: the new model.
        champion_id: the model in service that it was compared with; None where there was none.
        champion: what that one was measured to be.
        decision: None where there was nothing to be better than.
        figures: None where no comparison was made.
    """

    challenger: Judged
    champion_id: str | None = None
    champion: Judged | None = None
    decision: GateDecision | None = None
    figures: GateFigures | None = None

    def decided(self, decision: GateDecision) -> GateReport:
        """The same with another verdict."""
        return replace(self, decision=decision)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; labels of fingers are not in it, since it goes where the model goes."""
        data = {
            "format": 1,
            "champion_id": self.champion_id,
            "verdict": None if self.decision is None else _verdict(self.decision),
            "policy": {
                "fmr": POLICY_FMR,
                "set_margin": SET_MARGIN,
                "group_margin": GROUP_MARGIN,
                "group_genuine": GROUP_GENUINE,
                "group_drawn": GROUP_DRAWN,
                "latency_factor": LATENCY_FACTOR,
            },
            "comparison": None if self.figures is None else _figures(self.figures),
            "challenger": _side(self.challenger),
            "champion": None if self.champion is None else _side(self.champion),
        }
        return dict(json_ready(data))

    def file(self) -> bytes:
        """What is published."""
        return json_text(self.to_dict()).encode()


def _side(judged: Judged) -> dict[str, Any]:
    """Error rates, and DET curves as lists of FMR and FNMR."""
    return {
        "evaluations": {name: found.to_dict() for name, found in judged.evaluations.items()},
        "det": {scored.name: det_points(scored) for scored in judged.sets},
    }


def _verdict(decision: GateDecision) -> dict[str, Any]:
    return {"better": decision.better, "findings": json_ready(decision.findings)}


def _figures(figures: GateFigures) -> dict[str, Any]:
    challenger, champion = figures.minimum_fmr
    latency, labels = figures.latency, figures.labels
    return {
        "target": figures.target,
        "sets": json_ready(figures.sets),
        "minimum_fmr": {"challenger": challenger, "champion": champion},
        "golden": json_ready(figures.golden),
        "latency": json_ready(latency) | {"budget_ms": latency.budget_ms},
        "labels": None
        if labels is None
        else {
            "fingers": labels.fingers,
            "compared": labels.compared,
            "suspects": len(labels.suspects),
        },
    }
