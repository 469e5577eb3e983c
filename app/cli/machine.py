"""What a measurement of speed was made on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import keras

from app.networks.device import Device, training_dtype

CPUINFO = Path("/proc/cpuinfo")


def machine_facts(device: Device) -> dict[str, str]:
    """Names and values, in the order in which they are shown."""
    return {
        "processor": processor_name(CPUINFO),
        "cores": str(os.cpu_count() or 1),
        "network on": device.name,
        "backend": f"Keras {keras.__version__} on {keras.backend.backend()}",
        "products in": training_dtype(device),
    }


def processor_name(cpuinfo: Path) -> str:
    """The processor's model where the system tells it, else its architecture."""
    text = cpuinfo.read_text("utf-8") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    return named[1] if named else platform.machine()


def resident_mib(process: int | str = "self") -> float:
    """Memory of a process that is in use, where the system tells it."""
    status = Path(f"/proc/{process}/status")
    text = status.read_text("utf-8") if status.is_file() else ""
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


def facts_table(facts: dict[str, str]) -> str:
    """The facts as a list in Markdown."""
    return "".join(f"- {name}: {value}\n" for name, value in facts.items())
