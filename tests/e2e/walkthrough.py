"""The README's walk-through: read its commands, run them in one shell, write what they printed.

``python -m tests.e2e.walkthrough`` starts a service of its own and puts the output into the README.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.live import ROOT, LiveService

README = ROOT / "README.md"
SECTION = re.compile(r"<!-- walkthrough:begin -->\n(.*?)<!-- walkthrough:end -->", re.DOTALL)
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
MARK = "===whorl-walkthrough==="


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it printed, in the README or just now."""

    command: str
    output: str
    status: int = 0


def steps_of(block: str) -> list[Step]:
    """The commands of a console block with the output shown below each."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Step(*_halves(part)) for part in parts]


def _halves(part: str) -> tuple[str, str]:
    command, _, output = part.partition("\n")
    return command, output


def shown_steps() -> list[Step]:
    """All steps of the README's section."""
    section = SECTION.search(README.read_text())
    assert section is not None, "the README has no walk-through"
    return [step for block in BLOCK.findall(section[1]) for step in steps_of(block)]


def run_steps(live: LiveService, commands: list[str]) -> list[Step]:
    """Run the commands one after the other in one shell, as a person would."""
    script = "\n".join(f"{command}\necho; echo '{MARK}' $?" for command in commands)
    whorl = f'whorl() {{ "{sys.executable}" -m app.cli "$@"; }}\n'
    exports = f"export WHORL={live.address} KEY={live.admin_key} WHORL_HOME={live.home}\n"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", exports + whorl + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=840,
        check=True,
    )
    outputs = re.findall(rf"(.*?)\n?{MARK} (\d+)\n", done.stdout, re.DOTALL)
    return [
        Step(command, output.strip("\n"), int(status))
        for command, (output, status) in zip(commands, outputs, strict=True)
    ]


def rewrite(ran: list[Step]) -> None:
    """Put the output into the README; the admin key does not occur in it."""
    left = iter(ran)

    def block(match: re.Match[str]) -> str:
        lines = []
        for _ in steps_of(match[1]):
            step = next(left)
            lines += [f"$ {step.command}", *([step.output] if step.output else [])]
        return "```console\n" + "\n".join(lines) + "\n```"

    text = README.read_text()
    README.write_text(SECTION.sub(lambda found: BLOCK.sub(block, found[0]), text))


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        LiveService(Path(folder) / "home", worker=True) as service,
    ):
        found = run_steps(service, [step.command for step in shown_steps()])
    failed = [step for step in found if step.status]
    for step in failed:
        sys.stderr.write(f"{step.command}\n{step.output}\n")
    if not failed:
        rewrite(found)
    sys.exit(bool(failed))
