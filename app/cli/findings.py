"""What an examination of the installation finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination; ``advice`` says what to do where something is to be done."""

    level: Level
    topic: str
    text: str
    advice: str = ""


def ok(topic: str, text: str) -> Finding:
    """Nothing to be done."""
    return Finding(Level.OK, topic, text)


def warning(topic: str, text: str, advice: str) -> Finding:
    """Works, but somebody should know."""
    return Finding(Level.WARNING, topic, text, advice)


def problem(topic: str, text: str, advice: str) -> Finding:
    """Does not work."""
    return Finding(Level.PROBLEM, topic, text, advice)
