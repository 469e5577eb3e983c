"""The container files against the project: nobody builds them here, so their facts are checked."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest

from app.settings import Settings
from tests.conftest import ROOT

yaml = pytest.importorskip("yaml")

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROBED = "/health/ready"


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions (keyword, rest) by stage, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in DOCKERFILE.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            name = rest.split()[-1]
            found[name] = []
        found[name].append((keyword, rest))
    return found


def inherited(name: str) -> list[tuple[str, str]]:
    """Instructions of a stage and of those it stands on."""
    base = stages()[name][0][1].split()[0]
    return [*(inherited(base) if base in stages() else []), *stages()[name]]


def last(name: str, keyword: str) -> str:
    return next(rest for found, rest in reversed(inherited(name)) if found == keyword)


def environment(name: str) -> dict[str, str]:
    pairs = [rest for keyword, rest in inherited(name) if keyword == "ENV"]
    return dict(pair.split("=", 1) for rest in pairs for pair in rest.split())


def copied() -> list[str]:
    """Sources that come from the build context."""
    return [
        source
        for instructions in stages().values()
        for keyword, rest in instructions
        if keyword == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {package.lower().replace("_", "-"): version for package, version in pairs}


def test_what_the_dockerfile_copies_is_there_and_let_through() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert "*" in rules
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert set(copied()) == set(allowed)


@pytest.mark.parametrize("private", [".env", ".git", "var", "tests", "docs", ".venv"])
def test_nothing_private_reaches_the_build(private: str) -> None:
    assert not any(fnmatch(private, source) for source in copied())


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_images_run_as_nobody_in_particular(target: str) -> None:
    user, _, group = last(target, "USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"--uid {user}" in DOCKERFILE
    assert last(target, "STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_images_keep_everything_in_one_volume(target: str) -> None:
    assert environment(target)["WHORL_HOME"] == last(target, "VOLUME")
    assert environment(target)["WHORL_HOST"] == "0.0.0.0"
    assert environment(target)["WHORL_PORT"] == last(target, "EXPOSE")
    caches = ("HOME", "MPLCONFIGDIR", "KERAS_HOME")
    assert all(environment(target)[name].startswith("/tmp") for name in caches)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_images_are_probed_for_readiness(target: str) -> None:
    probe = json.loads(last(target, "HEALTHCHECK").partition("CMD ")[2])
    assert probe[:2] == ["python", "-c"]
    assert PROBED in probe[2]
    compile(probe[2], "healthcheck", "exec")


def test_the_cpu_image_is_the_default() -> None:
    assert list(stages())[-1] == "cpu"
    assert json.loads(last("cpu", "ENTRYPOINT")) == ["whorl"]


def test_base_images_are_slim_python_of_the_project() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bases = {rest.split()[0] for lines in stages().values() for _, rest in lines[:1]} - set(
        stages()
    )
    assert bases == {"python:3.11-slim"}
    assert wanted["requires-python"] == ">=3.11,<3.12"
    assert f'image.version="{wanted["version"]}"' in DOCKERFILE


def test_the_gpu_image_has_the_same_tensorflow() -> None:
    cpu, gpu = pins("constraints.txt"), pins("constraints-gpu.txt")
    assert gpu["tensorflow"] == cpu["tensorflow-cpu"]
    assert cpu.keys().isdisjoint(gpu)
    assert "--constraint constraints.txt" in (ROOT / "constraints-gpu.txt").read_text("utf-8")


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == last(service["build"]["target"], "USER")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", SERVICES)
def test_services_share_one_volume(name: str) -> None:
    assert list(COMPOSE["volumes"]) == ["home"]
    assert SERVICES[name]["volumes"] == ["home:/var/lib/whorl"]
    assert SERVICES[name]["environment"]["WHORL_HOME"] == "/var/lib/whorl"


@pytest.mark.parametrize("name", SERVICES)
def test_services_set_only_known_settings_and_take_their_defaults(name: str) -> None:
    known = {f"WHORL_{field.upper()}" for field in Settings.model_fields}
    given = SERVICES[name]["environment"]
    fixed = {key for key, value in given.items() if not re.fullmatch(rf"\$\{{{key}:-\}}", value)}
    assert set(given) <= known
    assert fixed <= {"WHORL_HOME", "WHORL_DEVICE"}


@pytest.mark.parametrize(("api", "worker"), [("api", "worker"), ("api-gpu", "worker-gpu")])
def test_api_and_worker_are_one_image(api: str, worker: str) -> None:
    assert SERVICES[api]["image"] == SERVICES[worker]["image"]
    assert SERVICES[api]["build"] == SERVICES[worker]["build"]
    assert SERVICES[api]["command"] == ["serve", "--no-worker"]
    assert SERVICES[worker]["command"] == ["worker"]
    assert "ports" not in SERVICES[worker]


@pytest.mark.parametrize("api", ["api", "api-gpu"])
def test_the_api_is_published_on_this_machine_only_and_probed(api: str) -> None:
    assert SERVICES[api]["ports"] == ["127.0.0.1:${WHORL_PORT:-8000}:8000"]
    probe = SERVICES[api]["healthcheck"]["test"]
    assert PROBED in probe[-1]
    compile(probe[-1], "healthcheck", "exec")


def test_the_gpu_is_a_profile() -> None:
    default = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert default == {"api", "worker"}
    for name in SERVICES.keys() - default:
        service = SERVICES[name]
        assert service["profiles"] == ["gpu"]
        assert service["build"]["target"] == "gpu"
        assert service["environment"]["WHORL_DEVICE"] == "gpu"
        devices = service["deploy"]["resources"]["reservations"]["devices"]
        assert devices[0]["capabilities"] == ["gpu"]
