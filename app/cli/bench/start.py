"""From nothing to a service that is ready, beside what any process pays that imports the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.cli.bench.service import serving
from app.cli.bench.timing import Section, Times

STARTS = 3


def start_section() -> Section:
    """Seconds of a process's start, in turns: bare, with the network's library, the service."""
    bare, imported, ready, memory_mib = [], [], [], 0.0
    for _ in range(STARTS):
        bare.append(_process_ms("pass"))
        imported.append(_process_ms("import keras"))
        with tempfile.TemporaryDirectory() as home, serving(Path(home), {}) as service:
            ready.append(service.started_s * 1e3)
            memory_mib = service.resident_mib
    taken = {
        "Python": Times(tuple(bare)),
        "Python that imports Keras and its backend": Times(tuple(imported)),
        "the service until it is ready, in a new home": Times(tuple(ready)),
    }
    *_, whole = taken.values()
    rows = [
        [name, f"{times.p50_ms / 1e3:.2f}", f"{times.p50_ms / whole.p50_ms:.2f}"]
        for name, times in taken.items()
    ]
    says = (
        f"The median of {STARTS} starts whose files the system had read before. Ready is after the "
        "model is checked and every batch size compiled; the service takes "
        f"{memory_mib:,.0f} MiB then."
    )
    return Section("Start", ["What", "s", "of the service's"], rows, says)


def _process_ms(code: str) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - began_s) * 1e3
