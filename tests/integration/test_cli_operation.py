"""Keys, jobs, models and the doctor from the command line, on real home folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.bootstrap.home import Home, open_home
from app.cli.commands import app
from app.core.clock import now_ms
from app.core.records import Job, JobState, ModelAlias, Scope
from app.services.job_curve import CurveKeeper
from app.services.job_files import JobFiles
from app.services.keys import authenticate
from app.services.promote import complete_promotion
from app.settings import Settings
from model_store import Registry
from tests.fakes.gate import report_dict
from tests.fakes.print_archives import drawn_prints, zip_bytes
from tests.small_model import publish_evaluated, publish_small_model, shipped_id


def whorl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@contextmanager
def home() -> Iterator[Home]:
    with open_home(Settings()) as opened:
        yield opened


def checks(result: Result) -> dict[str, dict[str, Any]]:
    """The worst finding of each topic."""
    order = ["ok", "warning", "problem"]
    found = sorted(json.loads(result.stdout)["checks"], key=lambda f: order.index(f["level"]))
    return {finding["topic"]: finding for finding in found}


def test_a_key_is_made_used_listed_and_revoked(model_home: Path) -> None:
    made = whorl("keys", "create", "reception", "--scope", "verify", "--scope", "identify")
    assert made.exit_code == 0, made.stderr
    token = made.stdout.strip()
    with home() as opened:
        key = authenticate(opened.store, token)
        assert key is not None
        assert key.scopes == {Scope.VERIFY, Scope.IDENTIFY}
    listed = whorl("keys", "list", "--json")
    assert [k["name"] for k in json.loads(listed.stdout)["keys"]] == ["reception"]
    # A secret may hold underscores itself: only the first two part the token.
    assert token.split("_", 2)[2] not in listed.output
    assert "hash" not in listed.stdout
    assert whorl("keys", "revoke", key.id).exit_code == 0
    with home() as opened:
        assert authenticate(opened.store, token) is None
    assert "revoked" in whorl("keys", "list").stderr


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        (["create", "x"], "no_scopes"),
        (["create", "x", "--scope", "everything"], "unknown_scope"),
        (["create", "x", "--scope", "verify", "--all-scopes"], "scopes_ambiguous"),
        (["revoke", "0123456789abcdef"], "key_not_found"),
    ],
)
def test_a_key_that_cannot_be_made_is_code_2(
    model_home: Path, arguments: list[str], slug: str
) -> None:
    result = whorl("keys", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"{slug}: ")


def test_looking_makes_no_home(model_home: Path, shipped_models: Path) -> None:
    models = json.loads(whorl("models", "list", "--json").stdout)["models"]
    assert [m["id"] for m in models] == [shipped_id(shipped_models)]
    assert models[0]["state"] == "champion"
    assert models[0]["shipped"]
    assert whorl("keys", "list").exit_code == 0
    assert json.loads(whorl("jobs", "list", "--json").stdout) == {"jobs": []}
    assert not model_home.exists()


def test_a_model_is_shown_promoted_and_pruned(model_home: Path, shipped_models: Path) -> None:
    old = shipped_id(shipped_models)
    first, second = (publish_small_model(model_home / "models", seed) for seed in (2, 3))
    shown = whorl("models", "show", first, "--json")
    assert json.loads(shown.stdout)["id"] == first
    assert "FMR down to 0.051" in shown.stderr

    promoted = whorl("models", "promote", first)
    assert promoted.exit_code == 0, promoted.stderr
    assert "next start" in promoted.stderr
    with home() as opened:
        with opened.store.read() as tx:
            assert tx.aliases.get(ModelAlias.CANDIDATE) == first
        complete_promotion(opened.store, first)

    assert whorl("models", "rollback").exit_code == 0
    with home() as opened, opened.store.read() as tx:
        assert tx.aliases.get(ModelAlias.CANDIDATE) == old

    tried = json.loads(whorl("models", "prune", "--dry-run", "--json").stdout)
    assert tried == {"dry_run": True, "deleted": [second], "kept": sorted([old, first])}
    assert (model_home / "models" / second).exists()
    pruned = json.loads(whorl("models", "prune", "--json").stdout)
    assert pruned["deleted"] == [second]
    assert not (model_home / "models" / second).exists()
    assert (model_home / "models" / first).exists()


def test_an_evaluation_is_shown_and_written_as_a_page(
    model_home: Path, shipped_models: Path, tmp_path: Path
) -> None:
    model_id = publish_evaluated(shipped_models, Registry(model_home / "models"))
    page = tmp_path / "report.html"
    shown = whorl("models", "evaluation", model_id, "--out", str(page), "--json")
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout) == {"model_id": model_id, "evaluation": report_dict()}
    assert "better than the model in service then, 0123456789abcdef" in shown.stderr
    assert "finger position left" in shown.stderr
    assert f"<code>{model_id}</code>" in page.read_text()
    result = whorl("models", "evaluation", shipped_id(shipped_models))
    assert result.exit_code == 2
    assert result.stderr.startswith("evaluation_not_found: ")


def test_unknown_models_and_jobs_are_code_2(model_home: Path) -> None:
    for arguments, slug in (
        (("models", "show", "0" * 16), "model_not_found"),
        (("models", "evaluation", "0" * 16), "model_not_found"),
        (("models", "promote", "0" * 16), "model_not_found"),
        (("models", "verify", "0" * 16), "model_not_found"),
        (("models", "rollback"), "no_previous_model"),
        (("jobs", "show", "nothing"), "job_not_found"),
        (("jobs", "watch", "nothing"), "job_not_found"),
        (("jobs", "log", "nothing"), "job_not_found"),
        (("jobs", "curves", "nothing"), "job_not_found"),
        (("jobs", "retry", "nothing"), "job_not_found"),
    ):
        result = whorl(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"{slug}: ")


def test_a_changed_model_fails_its_verification(model_home: Path, shipped_models: Path) -> None:
    changed = publish_small_model(model_home / "models", seed=4)
    weights = model_home / "models" / changed / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    result = whorl("models", "verify", "--json")
    assert result.exit_code == 1
    sound = {m["id"]: m["sound"] for m in json.loads(result.stdout)["models"]}
    assert sound == {shipped_id(shipped_models): True, changed: False}


def test_a_job_is_listed_shown_watched_and_cancelled(model_home: Path) -> None:
    spec = {"recipe": "quick", "steps": 5}
    with home() as opened, opened.store.write() as tx:
        tx.jobs.add(Job("job1", "train", JobState.QUEUED, spec, created_ms=now_ms()))
    assert "job1" in whorl("jobs", "list").stderr
    assert json.loads(whorl("jobs", "show", "job1", "--json").stdout)["spec"] == spec
    # a job that somebody works on, or will, may yet publish a model
    assert whorl("jobs", "cancel", "job1").exit_code == 0
    watched = whorl("jobs", "watch", "job1")
    assert watched.exit_code == 1
    assert "cancelled" in watched.stderr
    again = whorl("jobs", "cancel", "job1")
    assert again.exit_code == 2
    assert again.stderr.startswith("job_ended: ")


def test_a_job_is_retried_and_its_log_and_curves_are_shown(
    model_home: Path, tmp_path: Path
) -> None:
    with home() as opened, opened.store.write() as tx:
        tx.jobs.add(Job("job1", "train", JobState.FAILED, {"steps": 5}, created_ms=now_ms()))
    files = JobFiles(model_home)
    keeper = CurveKeeper(files.curve("job1"))
    keeper.note({"phase": "training", "epoch": 1, "step": 5, "loss": 0.5, "images_per_s": 9.0})
    keeper.note({"phase": "evaluating"})
    files.log("job1").write_text("one\ntwo\nthree\n")
    files.work("job1").mkdir(parents=True)

    assert whorl("jobs", "log", "job1", "--lines", "2").stdout == "two\nthree\n"
    shown = whorl("jobs", "curves", "job1", "--json", "--png", str(tmp_path / "curves.png"))
    (point,) = json.loads(shown.stdout)["points"]
    assert (point["epoch"], point["loss"], point["validation_loss"]) == (1, 0.5, None)
    assert "training" in shown.stderr
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

    again = whorl("jobs", "retry", "job1").stdout.strip()
    assert json.loads(whorl("jobs", "curves", again, "--json").stdout)["points"] == [point]
    order = json.loads(whorl("jobs", "show", again, "--json").stdout)["spec"]
    assert order == {"steps": 5, "retry_of": "job1"}
    assert files.work(again).is_dir()
    refused = whorl("jobs", "retry", again)
    assert (refused.exit_code, refused.stderr.split(":")[0]) == (2, "job_not_ended")


@pytest.mark.parametrize("kind", ["train", "calibrate", "reembed"])
def test_no_model_is_pruned_while_a_job_may_need_it(model_home: Path, kind: str) -> None:
    with home() as opened, opened.store.write() as tx:
        tx.jobs.add(Job("job1", kind, JobState.QUEUED, {}, created_ms=now_ms()))
        assert tx.jobs.claim("worker", [kind], now_ms(), 30_000) is not None
    result = whorl("models", "prune")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"job_running: job job1 ({kind}) is at work")


def test_recipes_are_listed() -> None:
    result = whorl("recipes", "--json")
    assert {"default", "quick"} <= {r["name"] for r in json.loads(result.stdout)["recipes"]}
    assert "quick" in result.stderr


def test_a_healthy_home_has_no_problem(model_home: Path, shipped_models: Path) -> None:
    whorl("keys", "create", "admin", "--all-scopes")
    result = whorl("doctor", "--json")
    assert result.exit_code == 0, result.output
    found = checks(result)
    assert {f["level"] for topic, f in found.items() if topic != "packages"} == {"ok"}
    assert shipped_id(shipped_models) in found["model in service"]["text"]
    assert "cpu:0" in found["device"]["text"]
    assert "problems: 0" in result.stderr


def test_a_damaged_home_is_told_in_plain_words(
    model_home: Path, shipped_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = publish_small_model(model_home / "models", seed=4)
    with home() as opened, opened.store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, changed)
        tx.jobs.add(Job("job1", "train", JobState.QUEUED, {}, created_ms=1))
        assert tx.jobs.claim("worker", ["train"], 2, 1) is not None
    weights = model_home / "models" / changed / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    (model_home / "master.key").chmod(0o644)
    (model_home / "whorl.sqlite3").chmod(0o666)
    monkeypatch.setenv("WHORL_TRAIN_ROOT", str(tmp_path / "nowhere"))
    result = whorl("doctor", "--json")
    assert result.exit_code == 1
    found = checks(result)
    for topic in ("master key", "store", "models", "model in service", "training folder"):
        assert found[topic]["level"] == "problem", topic
        assert found[topic]["advice"]
    assert "chmod 600" in found["master key"]["advice"]
    assert changed in found["models"]["text"]
    assert found["keys"]["level"] == "warning"
    assert "job1" in found["jobs"]["text"]


def test_a_lost_master_key_is_not_replaced(model_home: Path) -> None:
    whorl("keys", "create", "admin", "--all-scopes")
    (model_home / "master.key").unlink()
    result = whorl("doctor", "--json")
    assert result.exit_code == 1
    assert "backup" in checks(result)["master key"]["advice"]
    assert not (model_home / "master.key").exists()


def test_a_bad_setting_is_a_finding(model_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHORL_DEVICE", "abacus")
    result = whorl("doctor", "--json")
    assert result.exit_code == 1
    assert checks(result)["settings"]["text"].startswith("WHORL_DEVICE: ")


def test_a_data_set_is_added_shown_and_deleted(model_home: Path, tmp_path: Path) -> None:
    assert json.loads(whorl("datasets", "list", "--json").stdout) == {"datasets": []}
    archive = tmp_path / "prints.zip"
    archive.write_bytes(zip_bytes(drawn_prints() | {"notes.txt": b"x"}))
    made = whorl("datasets", "add", archive)
    assert made.exit_code == 0, made.stderr
    assert "not an image file by its name (notes.txt)" in made.stderr
    dataset_id = made.stdout.strip()
    listed = json.loads(whorl("datasets", "list", "--json").stdout)["datasets"]
    assert [(one["id"], one["name"], one["samples"]) for one in listed] == [
        (dataset_id, "prints.zip", 10)
    ]
    sheet = tmp_path / "sheet.png"
    shown = whorl("datasets", "show", dataset_id, "--preview", sheet)
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert whorl("datasets", "delete", dataset_id).exit_code == 0
    gone = whorl("datasets", "show", dataset_id)
    assert (gone.exit_code, "dataset_not_found" in gone.stderr) == (2, True)
    assert whorl("datasets", "add", tmp_path / "nothing.zip").exit_code == 2
