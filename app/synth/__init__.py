"""Synthetic fingerprints, every pixel of them from a seed."""

from __future__ import annotations

from app.synth.conditions import Conditions, Sensor, Skin, Touch, draw_conditions
from app.synth.impression import Impression, impress
from app.synth.orientation import Pattern
from app.synth.population import population
from app.synth.ridges import MasterPrint, grow_master

__all__ = [
    "Conditions",
    "Impression",
    "MasterPrint",
    "Pattern",
    "Sensor",
    "Skin",
    "Touch",
    "draw_conditions",
    "grow_master",
    "impress",
    "population",
]
