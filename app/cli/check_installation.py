"""Examination of what Whorl runs on: Python, packages, device, port, folders."""

from __future__ import annotations

import http.client
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from app import __version__
from app.cli.findings import Finding, ok, problem, warning
from app.settings import Settings

if TYPE_CHECKING:
    from app.networks.device import Device

PYTHON = "3.11"
SHOWN_PACKAGES = ("keras", "numpy", "opencv-python-headless", "fastapi", "sqlalchemy")
BACKENDS = ("tensorflow", "torch", "jax")
ENOUGH_DISK_BYTES = 2**30
ASK_S = 1.0


def check_python() -> Finding:
    """The version that the packages are pinned for."""
    found = platform.python_version()
    if not found.startswith(f"{PYTHON}."):
        return problem("python", f"Python {found}", f"install Python {PYTHON}: make PYTHON=...")
    return ok("python", f"Python {found}, Whorl {__version__}")


def check_packages() -> Iterator[Finding]:
    """Every required package there, in a version that was asked for."""
    try:
        wanted = [Requirement(line) for line in requires("whorl") or ()]
    except PackageNotFoundError:
        yield warning("packages", "Whorl is not installed", "run make serve, or pip install -e .")
        return
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    faults = [fault for requirement in needed if (fault := package_fault(requirement))]
    for fault in faults:
        yield problem("packages", fault, "run make serve again, it installs the pinned versions")
    if not faults:
        shown = ", ".join(f"{name} {version(name)}" for name in SHOWN_PACKAGES)
        yield ok("packages", f"{len(needed)} required packages are there: {shown}")


def package_fault(requirement: Requirement) -> str | None:
    """What is wrong with a required package, or None."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} {found} is installed, {requirement.specifier} is wanted"


def check_wsq() -> Finding:
    """The optional decoder."""
    if find_spec("wsq") is not None:
        return ok("wsq", "WSQ images can be read")
    return ok("wsq", "WSQ images are refused; pip install 'whorl[wsq]' where they are needed")


def check_runtime(settings: Settings) -> Finding:
    """What runs encoders, and whether it is there."""
    if settings.runtime == "openvino" and find_spec("openvino") is None:
        advice = "pip install 'whorl[openvino]', or set WHORL_RUNTIME=keras"
        return problem("runtime", "WHORL_RUNTIME=openvino, but OpenVINO is not installed", advice)
    return ok("runtime", f"encoders of prints are run by {settings.runtime}")


def check_device(settings: Settings) -> tuple[Device | None, Finding]:
    """Where the network runs, and why there."""
    if not any(find_spec(name) for name in BACKENDS):
        advice = "pip install 'whorl[cpu]' or 'whorl[gpu]'"
        return None, problem("device", "no tensor library is installed", advice)
    try:
        from app.networks.device import find_device

        device = find_device(settings.device)
    except (ImportError, RuntimeError, ValueError) as error:
        advice = "set WHORL_DEVICE=auto, or mend driver and tensor library"
        return None, problem("device", str(error), advice)
    return device, ok(
        "device", f"{device.id} ({device.name}) with {device.backend}: {device.reason}"
    )


def check_home(settings: Settings) -> Finding:
    """The folder of everything that is kept: there, writable, with room."""
    home = settings.home.absolute()
    if not home.exists():
        parent = next(p for p in home.parents if p.exists())
        if not os.access(parent, os.W_OK):
            return problem("home", f"{home} cannot be made", "set WHORL_HOME to a writable folder")
        return ok("home", f"{home} is not there yet; the first whorl serve makes it")
    if not home.is_dir() or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        advice = "give it to the user that runs Whorl, or set WHORL_HOME"
        return problem("home", f"{home} is not a folder that can be written to", advice)
    free = shutil.disk_usage(home).free
    text = f"{home}, {free / 2**30:.1f} GiB free"
    if free < ENOUGH_DISK_BYTES:
        return warning("home", text, "make room, or move WHORL_HOME to another disk")
    return ok("home", text)


def check_port(settings: Settings) -> Finding:
    """Whether the API could listen, or does already."""
    address = f"{settings.host}:{settings.port}"
    try:
        family = socket.getaddrinfo(settings.host, settings.port)[0][0]
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((settings.host, settings.port))
    except OSError as error:
        if _whorl_answers(settings):
            return ok("port", f"Whorl is serving on {address}")
        advice = "stop what listens there, or set WHORL_HOST and WHORL_PORT"
        return problem("port", f"{address} cannot be used: {error.strerror}", advice)
    return ok("port", f"{address} is free")


def _whorl_answers(settings: Settings) -> bool:
    host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104
    asked = http.client.HTTPConnection(host, settings.port, timeout=ASK_S)
    try:
        asked.request("GET", "/health/live")
        return b'"live"' in asked.getresponse().read(1000)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def check_train_root(settings: Settings) -> Finding:
    """The folder whose sub-folders the API may train on."""
    root = settings.train_root
    if root is None:
        return ok("training folder", "none; the API trains on synthetic prints only")
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        advice = "set WHORL_TRAIN_ROOT to a folder that this user can read, or unset it"
        return problem("training folder", f"{root} is not a readable folder", advice)
    if settings.home.resolve().is_relative_to(root.resolve()):
        advice = "keep keys and database out of it: set WHORL_TRAIN_ROOT to another folder"
        return problem("training folder", f"{root} holds the home folder", advice)
    return ok("training folder", str(root))
