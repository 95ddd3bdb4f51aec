"""`workers.toml` and OURVIDZ_WORKERS: who works in a pod, on which card, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.settings import QwenSettings, Settings, pod_settings, read_settings
from ourvidz_worker.supervisor.gpu import Card
from ourvidz_worker.supervisor.placement import device_of, environment_of, misplaced
from ourvidz_worker.supervisor.roster import Member, Roster, parse_roster, roster_of

ONE_QWEN = "one qwen worker is enough for a pod, which asks it at one address"
CARDS = tuple(Card(f"cuda:{n}", f"GPU-{n}{n}", "A40", GpuMemory(0.0, 48.0)) for n in range(2))
TWO_CARDS = """
[[workers]]
kind = "sdxl"
device = "cuda:0"

[[workers]]
kind = "sdxl"
device = "cuda:1"
count = 2

[[workers]]
kind = "wan"
"""


def test_a_file_says_kind_device_and_count() -> None:
    roster = parse_roster(TWO_CARDS, "workers.toml")
    assert [(member.name, member.kind, member.device) for member in roster.members] == [
        ("sdxl", "sdxl", "cuda:0"),
        ("sdxl-2", "sdxl", "cuda:1"),
        ("sdxl-3", "sdxl", "cuda:1"),
        ("wan", "wan", "auto"),
    ]
    assert roster.kinds == ("sdxl", "wan")


def test_every_problem_is_told_at_once_with_the_file_and_its_entry() -> None:
    text = """
    color = "blue"
    [[workers]]
    kind = "flux"
    [[workers]]
    device = "gpu0"
    count = 0
    [[workers]]
    kind = "qwen"
    count = 2
    cards = 1
    [[workers]]
    kind = "sdxl"
    count = true
    """
    with pytest.raises(ConfigurationError) as caught:
        parse_roster(text, "/etc/workers.toml")
    entry = "/etc/workers.toml, entry"
    assert caught.value.problems == (
        "/etc/workers.toml: color is unknown; it holds entries [[workers]] alone",
        f"{entry} 1 of [[workers]]: kind must be one of sdxl, wan, qwen, got 'flux'",
        f"{entry} 2 of [[workers]]: kind is missing: set it to one of sdxl, wan, qwen",
        f"{entry} 2 of [[workers]]: device must be auto, cpu, cuda:N or a card's UUID from nvidia-smi -L, got 'gpu0'",
        f"{entry} 2 of [[workers]]: count must be a whole number from 1 to 64, got 0",
        f"{entry} 3 of [[workers]]: cards is unknown; an entry has kind, device and count",
        f"{entry} 4 of [[workers]]: count must be a whole number from 1 to 64, got True",
        f"/etc/workers.toml has several qwen workers: {ONE_QWEN}; leave one, with count = 1",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no entry"),
        ("workers = 3", "must be written as entries"),
        ("workers = [1]", "must be written as entries"),
        ("[[workers]", "is not TOML"),
        ('[[workers]]\nkind = ["sdxl"]', "kind must be one of"),
        ('[[workers]]\nkind = "sdxl"\ncount = "2"', "count must be"),
        ('[[workers]]\nkind = "sdxl"\ncount = 99999999999', "count must be"),
    ],
)
def test_a_file_that_is_something_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_roster(text, "workers.toml")
    assert said in str(caught.value)


class TestSettings:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.delenv("OURVIDZ_WORKERS", raising=False)
        monkeypatch.setenv("OURVIDZ_CONFIG_DIR", str(tmp_path))
        return tmp_path

    def test_the_shipped_file_starts_one_of_each(self) -> None:
        assert read_settings(QwenSettings).roster == roster_of(["sdxl", "wan"])

    def test_the_operator_s_file_goes_over_it(self, folder: Path) -> None:
        (folder / "workers.toml").write_text('[[workers]]\nkind = "qwen"\n')
        assert pod_settings() is QwenSettings, "a pod of the language worker alone needs no backend"
        assert read_settings(QwenSettings).workers == ("qwen",)

    def test_the_variable_goes_over_the_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "workers.toml").write_text("not TOML")
        monkeypatch.setenv("OURVIDZ_WORKERS", "wan,sdxl,wan")
        assert [member.name for member in read_settings(QwenSettings).roster.members] == ["wan", "sdxl", "wan-2"]

    def test_its_problems_are_told_with_those_of_the_environment(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "workers.toml").write_text('[[workers]]\nkind = "flux"\ncount = "{x}"')
        monkeypatch.setenv("OURVIDZ_RESTART_LIMIT", "0")
        assert pod_settings() is Settings
        with pytest.raises(ConfigurationError) as caught:
            read_settings(QwenSettings)
        file, _, variable = caught.value.problems
        assert file.startswith(f"{folder / 'workers.toml'}, entry 1 of [[workers]]: kind must be")
        assert variable.startswith("OURVIDZ_RESTART_LIMIT is wrong")

    def test_a_second_language_worker_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURVIDZ_WORKERS", "qwen,qwen")
        with pytest.raises(ConfigurationError, match="OURVIDZ_WORKERS is wrong: names qwen twice"):
            read_settings(QwenSettings)


class TestPlacement:
    @pytest.mark.parametrize(
        ("device", "listed", "told"),
        [
            ("auto", "3,4", None),
            ("cpu", "3,4", "-1"),
            ("cuda:1", None, "1"),
            ("cuda:1", "3,4", "4"),
            ("cuda:1", "GPU-77, GPU-88", "GPU-88"),
            ("cuda:2", "3,4", "-1"),
            ("GPU-88", "3,4", "GPU-88"),
            ("MIG-99", None, "MIG-99"),
        ],
    )
    def test_a_worker_sees_its_own_card_alone(self, device: str, listed: str | None, told: str | None) -> None:
        """Without a driver to ask, as the pod's own variable has it."""
        outer = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
        expected = {} if told is None else {"CUDA_VISIBLE_DEVICES": told}
        assert environment_of(Member("sdxl", "sdxl", device), (), outer) == expected

    def test_a_card_is_told_by_its_uuid(self) -> None:
        told = environment_of(Member("sdxl", "sdxl", "cuda:1"), CARDS, {"CUDA_VISIBLE_DEVICES": "5,6"})
        assert told == {"CUDA_VISIBLE_DEVICES": "GPU-11"}

    def test_without_a_device_the_model_s_counts(self) -> None:
        assert device_of(Member("wan", "wan"), "cuda:1") == "cuda:1"
        assert device_of(Member("wan", "wan"), "auto") == "cuda:0"
        assert device_of(Member("wan", "wan", "cpu"), "cuda:1") == "cpu"

    def test_a_card_that_is_not_there_is_told(self) -> None:
        devices = ("cuda:1", "GPU-00", "cpu", "auto", "cuda:2", "GPU-33")
        roster = Roster(tuple(Member(f"sdxl-{n}", "sdxl", device) for n, device in enumerate(devices)))
        problems = list(misplaced(roster, CARDS))
        assert [problem.partition(",")[0] for problem in problems] == [
            "the sdxl-4 worker is to run on cuda:2",
            "the sdxl-5 worker is to run on GPU-33",
        ]
        assert "cuda:0 is A40 GPU-00, cuda:1 is A40 GPU-11" in problems[0]
        assert list(misplaced(roster, ())) == []
