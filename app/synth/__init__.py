"""Synthetic fingerprints, every pixel of them from a seed."""

from __future__ import annotations

from app.synth.conditions import Conditions, Sensor, Skin, Touch, draw_conditions
from app.synth.impression import Impression, impress
from app.synth.minutiae import Minutiae, MinutiaKind, find_minutiae, minutiae_of
from app.synth.orientation import Pattern
from app.synth.population import population
from app.synth.ridges import MasterPrint, grow_master
from app.synth.truth import Pose, Truth, truth_of

__all__ = [
    "Conditions",
    "Impression",
    "MasterPrint",
    "MinutiaKind",
    "Minutiae",
    "Pattern",
    "Pose",
    "Sensor",
    "Skin",
    "Touch",
    "Truth",
    "draw_conditions",
    "find_minutiae",
    "grow_master",
    "impress",
    "minutiae_of",
    "population",
    "truth_of",
]
