"""The check of an uploaded model, in a process of its own.

What a stranger's manifest asks for may take all memory or bring the tensor library down before it
is found wrong. So it is loaded apart, under a limit: there it is built, given its weights, held
against its golden vectors and warmed at every batch size, as it would be in service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from app.core.errors import ModelRefused, NotFound

MOST_DATA_BYTES = 4 * 2**30
LONGEST_S = 300.0
REFUSED = 3


def check_apart(root: Path, model_id: str) -> None:
    """Load a model from a registry's folder in another process, on the CPU.

    Raises:
        ModelRefused: it fails a check, with that one's slug; or its process ran out of memory or
            time, or crashed (``model_check_failed``).
    """
    command = [sys.executable, "-m", "app.bootstrap.model_check", str(root), model_id]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=LONGEST_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise _failed(f"it took more than {LONGEST_S:g} s") from None
    if ended.returncode == REFUSED:
        problem = json.loads(ended.stdout.splitlines()[-1])
        raise ModelRefused(problem["detail"], slug=problem["slug"])
    if ended.returncode != 0:
        raise _failed(f"its process ended with {ended.returncode}, perhaps for want of memory")


def _failed(why: str) -> ModelRefused:
    return ModelRefused(f"the model could not be loaded: {why}", slug="model_check_failed")


def main(root: str, model_id: str) -> int:
    """Load a model; the exit code, with the problem as a line of JSON where it is refused."""
    import resource  # only Unix has it, and only here it is needed

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA_BYTES, MOST_DATA_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a card is for who serves
    from app.inference.loading import Loader
    from app.networks.device import find_device
    from model_store import Registry

    try:
        Loader(Registry(Path(root)), find_device("cpu")).load(model_id)
    except (ModelRefused, NotFound) as problem:
        print(json.dumps({"slug": problem.slug, "detail": problem.detail}))  # noqa: T201
        return REFUSED
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the threads of the tensor library and of the embedder end with it
