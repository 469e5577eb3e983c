"""Settings come from the environment, once, and are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WHORL_{name.upper()}", raising=False)


def test_defaults_serve_on_this_machine_only() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.home == Path("var")
    assert settings.models == Path("var/models")
    assert settings.shipped_dir.parts[-2:] == ("model_store", "shipped")
    assert settings.train_root is None
    assert (settings.worker_nice, settings.worker_memory_mb) == (10, 0)


@pytest.mark.parametrize(("bound_mb", "starts"), [(0, True), (1, False), (383, False), (384, True)])
def test_a_bound_that_no_job_fits_is_refused(bound_mb: int, starts: bool) -> None:
    if starts:
        assert Settings(worker_memory_mb=bound_mb).worker_memory_mb == bound_mb
        return
    with pytest.raises(ValidationError, match="must be 0, for no bound, or at least 384"):
        Settings(worker_memory_mb=bound_mb)


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "HOME": str(tmp_path),
        "PORT": "9000",
        "DEVICE": "cpu",
        "MODEL_DIR": "/srv/models",
        "TRAIN_ROOT": "",
    }.items():
        monkeypatch.setenv(f"WHORL_{name}", value)
    settings = Settings()
    assert (settings.port, settings.device) == (9000, "cpu")
    assert settings.database.parent == tmp_path
    assert settings.models == Path("/srv/models")
    assert settings.train_root is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("DEVICE", "tpu"),
        ("MINIMUM_QUALITY", "101"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("LOG_LEVEL", "loud"),
        ("TRAIN_ROOT", "prints"),
    ],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"WHORL_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
