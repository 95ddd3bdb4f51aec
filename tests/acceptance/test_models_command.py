"""What an operator does about weights: look, fetch, verify, convert."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ourvidz_worker.backend.hub.downloads import Hub
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.volume.kinds import Kind
from ourvidz_worker.errors import ConfigurationError
from tests.engines.single_file import write_single_file
from tests.support.commands import ROOT, clean_environment
from tests.support.said import Said, said_by
from tests.volume.hub_server import HubServer
from tests.volume.weight_files import write_kind, write_text

COMMIT = "0123456789012345678901234567890123456789"
TOKEN = "hf_a_secret_of_the_operator"
TABLES = """
[sdxl]
model_name = "a checkpoint"
path = "sdxl/model.safetensors"
dtype = "float16"
vae_dtype = "bfloat16"
config = "config"
ip_adapter = "ip/adapter.safetensors"
[wan]
model_name = "wan"
path = "wan"
dtype = "bfloat16"
vae_dtype = "float32"
[qwen]
model_name = "qwen"
path = "hub/models--org--qwen"
dtype = "bfloat16"
"""
PUBLISHED: Mapping[str, tuple[str, Mapping[str, Kind | None]]] = {
    "sdxl": ("sdxl", {"model.safetensors": Kind.SDXL}),
    "adapter": ("ip", {"adapter.safetensors": Kind.IP_ADAPTER}),
    "qwen": (
        "hub/models--org--qwen",
        {
            "config.json": None,
            "tokenizer_config.json": None,
            "tokenizer.json": None,
            "model.safetensors": Kind.LANGUAGE_MODEL,
        },
    ),
    "spare": ("spare", {"spare.safetensors": Kind.VAE}),
}


@dataclass(frozen=True)
class Operator:
    """A person at a shell on a pod, with a volume and a hub."""

    volume: Path
    configs: Path
    hub: HubServer
    capsys: pytest.CaptureFixture[str]

    def runs(self, *arguments: str) -> Said:
        return said_by(self.capsys, "models", *arguments)

    def address(self, name: str, file: str) -> str:
        return f"org/{name}/resolve/{COMMIT}/{file}"


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    volume, configs = tmp_path / "volume", tmp_path / "configs"
    write_text(volume / "config" / "model_index.json")
    files, tables = _published(tmp_path / "published")
    write_text(configs / "models.toml", TABLES + tables)
    monkeypatch.setattr("ourvidz_worker.cli.models.fetching.Hub", _hasty)
    with HubServer(files) as hub:
        for name, value in {
            "OURVIDZ_MODELS_DIR": str(volume),
            "OURVIDZ_CONFIG_DIR": str(configs),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": "",
        }.items():
            monkeypatch.setenv(name, value)
        yield Operator(volume, configs, hub, capsys)


def _hasty(**options: Any) -> Hub:
    return Hub(**options, sleep=lambda seconds: None)


def _published(folder: Path) -> tuple[dict[str, bytes], str]:
    """The hub's files, and the tables that name them; of one file nothing but the name is known."""
    files, tables = {}, ""
    for name, (path, contents) in PUBLISHED.items():
        entries = []
        for file, kind in contents.items():
            here = folder / name / file
            if kind is None:
                write_text(here)
                entries.append(f'{{ name = "{file}" }}')
            else:
                write_kind(here, kind)
                sha256 = hashlib.sha256(here.read_bytes()).hexdigest()
                entries.append(f'{{ name = "{file}", bytes = {here.stat().st_size}, sha256 = "{sha256}" }}')
            files[f"org/{name}/resolve/{COMMIT}/{file}"] = here.read_bytes()
        tables += f'[sources.{name}]\nrepository = "org/{name}"\nrevision = "{COMMIT}"\npath = "{path}"\n'
        tables += f"files = [{', '.join(entries)}]\n"
    return files, tables


def test_a_list_says_what_is_asked_for_and_where_it_comes_from(operator: Operator) -> None:
    said = operator.runs("list")
    assert said.code == 0
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert "missing" in lines["sdxl.path"]
    assert "org/sdxl" in lines["sdxl.path"]
    assert str(operator.volume / "sdxl" / "model.safetensors") in lines["sdxl.path"]
    assert "missing, optional" in lines["sdxl.ip_adapter"]
    assert "[sources.spare] is not used: set a key to spare/spare.safetensors to use it" in said.out


def test_everything_is_fetched_to_its_place(operator: Operator) -> None:
    said = operator.runs("fetch", "sdxl", "qwen")
    assert (said.code, said.err) == (0, "")
    assert f"sdxl.path: in place at {operator.volume / 'sdxl' / 'model.safetensors'}" in said.out
    snapshot = operator.volume / "hub" / "models--org--qwen" / "snapshots" / COMMIT
    assert sorted(path.name for path in snapshot.iterdir()) == sorted(PUBLISHED["qwen"][1])
    assert (snapshot.parent.parent / "refs" / "main").read_text() == COMMIT
    assert not list(operator.volume.rglob("*.part*"))

    asked = len(operator.hub.asked)
    assert operator.runs("fetch", "sdxl", "qwen").code == 0
    assert len(operator.hub.asked) == asked
    document = operator.runs("list", "sdxl", "--json").document
    assert [model["state"] for model in document["models"]] == ["present", "present"]
    assert operator.runs("verify", "sdxl", "qwen", "--full").code == 0


def test_one_key_alone_is_fetched_by_its_name(operator: Operator) -> None:
    said = operator.runs("fetch", "sdxl.ip_adapter", "--json")
    assert said.code == 0
    assert [entry["name"] for entry in said.document] == ["sdxl.ip_adapter"] * 2
    assert all(entry["ok"] for entry in said.document)
    assert [path.name for path in operator.volume.iterdir() if path.name != "config"] == ["ip"]


def test_what_has_no_source_is_a_sentence(operator: Operator) -> None:
    said = operator.runs("fetch", "wan")
    assert said.code == 1
    assert f"wan.path: {operator.volume / 'wan'} does not exist ([wan] path in models.toml); put" in said.err


def test_a_file_that_the_hub_refuses_does_not_stop_the_others(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    operator.hub.statuses[operator.address("sdxl", "model.safetensors")] = [403]
    said = operator.runs("fetch", "sdxl")
    assert said.code == 1
    assert "(HTTP 403): accept the model's terms on the hub with the account that HF_TOKEN belongs to" in said.err
    assert "sdxl.ip_adapter: in place at" in said.out
    assert TOKEN not in said.out + said.err
    assert operator.hub.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_what_keeps_one_file_away_is_said_once(operator: Operator) -> None:
    for file in PUBLISHED["qwen"][1]:
        operator.hub.statuses[operator.address("qwen", file)] = [401]
    said = operator.runs("fetch", "qwen")
    assert said.code == 1
    assert said.err.count("(HTTP 401): check its source in models.toml, and if the model is gated") == 1
    assert len(operator.hub.asked) == 1


def test_two_keys_with_one_file_fetch_it_once(operator: Operator) -> None:
    models = operator.configs / "models.toml"
    models.write_text(models.read_text().replace("[wan]", 'ip_adapter_face = "ip/adapter.safetensors"\n[wan]', 1))
    operator.runs("fetch", "sdxl.ip_adapter", "sdxl.ip_adapter_face")
    assert len(operator.hub.asked) == 1


def test_what_was_fetched_may_still_be_something_else(operator: Operator) -> None:
    models = operator.configs / "models.toml"
    models.write_text(models.read_text().replace("ip/adapter.safetensors", "spare/spare.safetensors"))
    said = operator.runs("fetch", "sdxl.ip_adapter")
    assert said.code == 1
    assert f"looks like {Kind.VAE} ([sdxl] ip_adapter in models.toml)" in said.err


def test_room_is_asked_for_before_anything_is_fetched(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    said = operator.runs("fetch")
    assert said.code == 1
    assert "are still to come, and " in said.err
    assert "has 1000 B free: make room for" in said.err
    [shortage] = operator.runs("fetch", "--json").document
    assert (shortage["name"], shortage["ok"]) == ("models_dir", False)
    assert operator.hub.asked == []


def test_a_reference_that_cannot_be_written_is_a_sentence(operator: Operator) -> None:
    write_text(operator.volume / "hub/models--org--qwen/refs", "a file in the way")
    said = operator.runs("fetch", "qwen")
    assert said.code == 1
    assert "refs/main cannot be written: " in said.err


@pytest.mark.parametrize("action", ["list", "fetch", "verify", "convert"])
def test_a_volume_that_may_not_be_read_is_a_sentence(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    def stat(path: Path, _stat: Callable[..., os.stat_result] = Path.stat, **options: Any) -> os.stat_result:
        if path.is_relative_to(operator.volume):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return _stat(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    said = operator.runs(action, "sdxl")
    assert said.code == 1
    assert str(operator.volume) in said.err
    assert "cannot be read" in said.err
    assert "Permission denied" in said.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fetch_goes_on_where_it_was(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    address = operator.address("sdxl", "model.safetensors")
    operator.hub.breaks[address] = [1000]

    def interrupt(attempts: Any) -> None:
        signal.raise_signal(number)

    with monkeypatch.context() as patched:
        patched.setattr("ourvidz_worker.cli.models.fetching.Hub", lambda **options: Hub(**options, sleep=interrupt))
        said = operator.runs("fetch", "sdxl.path")
    assert said.code == code
    assert "interrupted; give the same command again to go on" in said.err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert operator.runs("list", "sdxl.path", "--json").document["models"][0]["state"] == "partial"
    assert operator.runs("fetch", "sdxl.path").code == 0
    assert operator.hub.asked[-1].range == "bytes=1000-"


def test_verify_finds_what_is_missing_cut_off_or_changed(operator: Operator) -> None:
    operator.runs("fetch", "sdxl", "qwen")
    adapter = operator.volume / "ip" / "adapter.safetensors"
    checkpoint = operator.volume / "sdxl" / "model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"x")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    said = operator.runs("verify", "sdxl", "qwen")
    assert said.code == 1
    assert f"sdxl.path: {checkpoint} is truncated: its header promises" in said.err
    assert "sdxl.ip_adapter: whole (files: 1)" in said.out
    said = operator.runs("verify", "sdxl.ip_adapter", "qwen", "--full")
    assert f"sdxl.ip_adapter: {adapter} is damaged: its SHA-256 is" in said.err
    assert "qwen.path: whole (files: 4, compared by hash: 1)" in said.out


def test_an_adapter_that_is_not_there_is_no_finding(operator: Operator) -> None:
    operator.runs("fetch", "sdxl.path")
    said = operator.runs("verify", "sdxl", "--json")
    assert said.code == 0
    assert {entry["name"]: entry["sentence"] for entry in said.document}["sdxl.ip_adapter"] == (
        "is not there, and optional"
    )


def test_each_file_is_complained_of_once_and_is_no_reason_to_convert(operator: Operator) -> None:
    write_text(operator.volume / "sdxl" / "model.safetensors", "<!DOCTYPE html>" * 10)
    said = operator.runs("list", "sdxl")
    [line] = [line for line in said.out.splitlines() if line.startswith("sdxl.path: ")]
    assert "is no .safetensors file but a web page ([sdxl] path in models.toml); run `ourvidz-worker models" in line


def test_a_truncated_file_is_fetched_again(operator: Operator) -> None:
    operator.runs("fetch", "sdxl.path")
    checkpoint = operator.volume / "sdxl" / "model.safetensors"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-5])
    assert operator.runs("fetch", "sdxl.path").code == 0
    assert checkpoint.read_bytes() == whole


def test_a_single_file_is_converted_once(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> None:
    from ourvidz_worker.engines.sdxl.loading import load_sdxl

    cache = tmp_path_factory.mktemp("cache")
    ensure_built(cache, "sdxl")
    shutil.rmtree(operator.volume / "config")
    tiny = cache / MODELS.sdxl.path
    shutil.copytree(tiny, operator.volume / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    (operator.volume / "sdxl").mkdir()
    write_single_file(
        load_sdxl(replace(MODELS.sdxl, path=tiny.name), cache), operator.volume / "sdxl/model.safetensors"
    )

    said = operator.runs("convert", "sdxl")
    assert said.code == 0, said.err
    assert f"sdxl.path: copied to {operator.volume / 'converted' / 'sdxl-model-float16'}" in said.out
    assert "s before, " in said.out
    again = operator.runs("convert", "sdxl.path", "--json")
    assert [entry["sentence"] for entry in again.document] == [
        f"has its copy already at {operator.volume / 'converted' / 'sdxl-model-float16'}"
    ]
    assert "sdxl.path: loads from its faster copy" in operator.runs("list", "sdxl").out

    (operator.volume / "converted" / ".sdxl-model-float16.part").mkdir()
    (operator.volume / "converted" / "sdxl-earlier-float16").mkdir()
    left = operator.runs("list", "--json").document["leftovers"]
    assert [Path(path).name for path in left] == [".sdxl-model-float16.part", "sdxl-earlier-float16"]
    assert f"{left[1]} is no copy of what models.toml names now" in operator.runs("list").out


@pytest.mark.parametrize("error", [ConfigurationError("cannot be loaded"), OSError("cannot be written")])
def test_an_interruption_that_a_library_made_an_error_of_ends_a_conversion(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def swallow(*_arguments: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise error

    operator.runs("fetch", "sdxl.path")
    monkeypatch.setattr("ourvidz_worker.engines.volume.conversion.convert", swallow)
    said = operator.runs("convert", "sdxl")
    assert said.code == 143
    assert said.err == "interrupted; give the same command again to go on\n"


def test_what_is_missing_cannot_be_converted(operator: Operator) -> None:
    said = operator.runs("convert", "sdxl")
    assert said.code == 1
    assert "sdxl.path" in said.err
    assert "sdxl.ip_adapter" not in said.err


@pytest.mark.parametrize("action", ["list", "fetch", "verify", "convert"])
def test_an_unknown_name_is_wrong_use(operator: Operator, action: str) -> None:
    said = operator.runs(action, "flux")
    assert said.code == 2
    assert "there is nothing called flux in models.toml: use sdxl, wan, qwen, sdxl.path, sdxl.ip_adapter" in said.err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_ENDPOINT", "huggingface.co", "HF_ENDPOINT is wrong: must begin with https:// (or http://)"),
        ("HF_ENDPOINT", f"https://me:{TOKEN}@hub", "HF_ENDPOINT is wrong: must be the address alone"),
        ("HF_TOKEN", f"{TOKEN}\n{TOKEN}", "HF_TOKEN is wrong: holds a character that no header can carry"),
    ],
)
def test_a_wrong_setting_is_a_sentence_without_its_value(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    heard = operator.runs("list")
    assert heard.code == 78
    assert said in heard.err
    assert TOKEN not in heard.err


def test_the_doctor_knows_what_can_be_fetched(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9"
    for name, value in {
        "SUPABASE_URL": nobody,
        "SUPABASE_SERVICE_KEY": "key",
        "UPSTASH_REDIS_REST_URL": nobody,
        "UPSTASH_REDIS_REST_TOKEN": "token",
        "OURVIDZ_WORKERS": "sdxl",
    }.items():
        monkeypatch.setenv(name, value)
    said = said_by(operator.capsys, "doctor", "--json")
    assert said.code == 1
    findings = said.document["findings"]
    checkpoint, adapter = [finding for finding in findings if finding["area"] == "models"]
    assert checkpoint["fatal"]
    assert checkpoint["cure"].startswith("run `ourvidz-worker models fetch sdxl.path`, or set OURVIDZ_MODELS_DIR")
    assert not adapter["fatal"]
    assert "[sdxl] ip_adapter" in adapter["finding"]


LIGHT = """
import contextlib, sys
from ourvidz_worker.cli.main import main
with contextlib.suppress(SystemExit): main(["models", "fetch", "--help"])
assert not {"httpx", "pydantic", "rich", "torch"} & set(sys.modules), "for help"
main(["models", "list"])
main(["models", "verify"])
assert not {"torch", "diffusers", "transformers"} & set(sys.modules), "for a look"
"""


def test_a_look_at_the_volume_does_without_torch(tmp_path: Path) -> None:
    environment = clean_environment({"OURVIDZ_MODELS_DIR": str(tmp_path)})
    said = subprocess.run(
        [sys.executable, "-c", LIGHT], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "wan.path" in said.stdout
