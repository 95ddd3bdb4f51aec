"""The scripts that `completion` prints, in real shells."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from ourvidz_worker.cli.chosen import chosen_catalogue
from ourvidz_worker.contract.catalogue import Catalogue
from tests.support.commands import ROOT
from tests.support.said import said_by

SHELLS = [shell for shell in ("bash", "zsh", "tcsh") if shutil.which(shell)]
ASK = """
source {script}
for line in {lines}; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    "$(complete -p ourvidz-worker | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
    echo "${{COMPREPLY[*]}}"
done
"""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return chosen_catalogue()


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    said = said_by(capsys, "completion", "bash")
    assert said.code == 0
    (tmp_path / "script").write_text(said.out)
    return tmp_path / "script"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "script").write_text(said_by(capsys, "completion", shell).out)
    result = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_the_other_scripts_have_the_names_too(
    shell: str, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(capsys, "completion", shell)
    for name in (*catalogue, "sdxl_queue", "wan_queue", "orchestrator", "sdxl.path"):
        assert name in said.out


def test_names_and_files_are_completed(script: Path, catalogue: Catalogue) -> None:
    expected = {
        "mod": {"models"},
        "queue dead ''": {"list", "show", "requeue", "drop"},
        "queue dead list --queue ''": {"sdxl_queue", "wan_queue"},
        "submit video_": {name for name in catalogue if name.startswith("video_")},
        "submit tests/payloads/video_fast.s": {"tests/payloads/video_fast.start_end.json"},
        "submit video_fast --sta": {"--start-frame"},
        "submit video_fast --images ''": {"1", "3", "6"},
        "submit image_fast --scheduler dd": {"ddim"},
        "submit image_fast --prompt ''": set(),
        "models fetch qwen wan.": {"wan.path", "wan.vace"},
        "replay tests/payloads/image_fast.": {
            "tests/payloads/image_fast.json",
            "tests/payloads/image_fast.reference.json",
        },
        "local --data ourvidz_worker/contra": {"ourvidz_worker/contract"},
        "local --port ''": set(),
        "plan --card l40": {"l40s"},
        "plan --measured configs/prome": {"configs/prometheus.yml"},
        "models verify --needed wan.v": {"wan.vace"},
        "oper": {"operator"},
        "completion ''": {"bash", "zsh", "tcsh"},
    }
    lines = " ".join(shlex.quote(f"ourvidz-worker {line}") for line in expected)
    asked = ASK.format(script=shlex.quote(str(script)), lines=lines)
    result = subprocess.run(["bash", "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    answers = [set(line.split()) for line in result.stdout.split("\n")]
    assert dict(zip(expected, answers, strict=False)) == expected


def test_an_operators_own_catalogue_gives_its_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = (ROOT / "configs" / "job_types.toml").read_text()
    (tmp_path / "job_types.toml").write_text(shipped.replace('"sdxl_queue"', '"pictures_queue"'))
    monkeypatch.setenv("OURVIDZ_CONFIG_DIR", str(tmp_path))
    said = said_by(capsys, "completion", "bash")
    assert "pictures_queue" in said.out
    assert "sdxl_queue" not in said.out
