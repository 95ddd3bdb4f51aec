"""What the doctor makes of a machine and an environment that have something wrong with them."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from ourvidz_worker.cli.doctor.card import examine_card
from ourvidz_worker.cli.doctor.diagnosis import Diagnosis
from ourvidz_worker.cli.doctor.disks import LEFT_AFTER, examine_disks
from ourvidz_worker.cli.doctor.driver import Driver, cuda_of
from ourvidz_worker.cli.doctor.keys import examine_service_key
from ourvidz_worker.cli.doctor.machine import host_memory, memory_limit, open_files, shared_memory
from ourvidz_worker.cli.doctor.network import clock_skew, examine_network, proxies, trouble
from ourvidz_worker.cli.doctor.ports import examine_ports
from ourvidz_worker.cli.doctor.processes import examine_processes
from ourvidz_worker.cli.doctor.spooled import examine_spool
from ourvidz_worker.cli.doctor.versions import examine_versions
from ourvidz_worker.cli.doctor.video import examine_video
from ourvidz_worker.engines.media.coding import NVENC, X264
from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.settings import Settings, read_settings
from ourvidz_worker.supervisor.gpu import Card
from tests.support.ports import free_port
from tests.support.said import set_environment

URL = "https://abcdefgh.supabase.co"
DRIVER = Driver("570.124.06", (12, 8), {0: (8, 9)})


def settings(patch: pytest.MonkeyPatch, tmp_path: Path, **variables: str) -> Settings:
    needed = {
        "SUPABASE_URL": URL,
        "SUPABASE_SERVICE_KEY": "key",
        "UPSTASH_REDIS_REST_URL": "https://db.upstash.io",
        "UPSTASH_REDIS_REST_TOKEN": "token",
        "OURVIDZ_SPOOL": str(tmp_path / "spool"),
        "OURVIDZ_CACHE": str(tmp_path / "cache"),
        "OURVIDZ_MODELS_DIR": str(tmp_path / "models"),
    }
    set_environment(patch, {**needed, **variables})
    return read_settings(Settings)


def card(total_gb: float = 48.0, place: int = 0) -> Card:
    return Card(f"cuda:{place}", f"GPU-{place}", "NVIDIA L40S", GpuMemory(1.0, total_gb))


def bad(diagnoses: Any) -> list[Diagnosis]:
    found = [diagnosis for diagnosis in diagnoses if not diagnosis.finding.ok]
    assert all(diagnosis.finding.cure for diagnosis in found), "each has a cure"
    return found


def only(diagnoses: Any) -> Diagnosis:
    [found] = bad(diagnoses)
    return found


class TestCard:
    def looked_at(self, patch: pytest.MonkeyPatch, tmp_path: Path, **changes: Any) -> list[Diagnosis]:
        told: dict[str, Any] = {"cards": [card()], "driver": DRIVER, "torch_cuda": (12, 6), "needs_gb": {"wan": 24.0}}
        told |= changes
        variables = told.pop("variables", {})
        return list(examine_card(settings(patch, tmp_path, **variables), *told.values()))

    def test_what_goes_together_is_no_finding(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        found = self.looked_at(monkeypatch, tmp_path)
        assert bad(found) == []
        assert "driver 570.124.06 runs PyTorch's build for CUDA 12.6" in [item.finding.sentence for item in found]

    @pytest.mark.parametrize(
        ("changes", "says", "fatal"),
        [
            ({"torch_cuda": None}, "cannot use cards", True),
            ({"torch_cuda": (13, 0)}, "built for CUDA 13.0, and driver 570.124.06 runs 12.8", True),
            ({"driver": Driver("570", (12, 8), {0: (7, 5)})}, "computes bfloat16 slowly", False),
            ({"driver": Driver("570", (12, 8), {0: (6, 1)})}, "too old for current builds", False),
            ({"cards": [card(16.0)]}, "takes about 24 GB, and cuda:0 has 16.0", False),
            ({"cards": []}, "no NVIDIA card", False),
        ],
    )
    def test_what_does_not_is_one(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], says: str, *, fatal: bool
    ) -> None:
        found = only(self.looked_at(monkeypatch, tmp_path, **changes))
        assert says in found.finding.sentence
        assert found.fatal is fatal

    def test_a_worker_on_a_card_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "workers.toml").write_text('[[workers]]\nkind = "wan"\ndevice = "cuda:3"\n')
        found = only(self.looked_at(monkeypatch, tmp_path, variables={"OURVIDZ_CONFIG_DIR": str(tmp_path)}))
        assert "wan worker is to run on cuda:3" in found.finding.sentence

    @pytest.mark.parametrize(
        ("text", "version"),
        [
            ("__version__ = '2.13.0+cu126'\ncuda: Optional[str] = '12.6'\n", (12, 6)),
            ("cuda = '13.0'\nhip = None\n", (13, 0)),
            ("cuda: Optional[str] = None\n", None),
        ],
    )
    def test_pytorch_says_what_it_was_built_for(self, text: str, version: tuple[int, int] | None) -> None:
        assert cuda_of(text) == version


class TestMachine:
    def test_too_few_files(self) -> None:
        assert "256 files" in only(open_files(256)).finding.sentence
        assert bad(open_files(1_048_576)) == []

    def test_little_shared_memory(self) -> None:
        assert "/dev/shm has 1 MB" in only(shared_memory(1_000_000)).finding.sentence
        assert "no /dev/shm" in only(shared_memory(None)).finding.sentence
        assert bad(shared_memory(67_108_864)) == []

    def test_models_that_do_not_fit_into_memory(self) -> None:
        assert (
            "16 GB of memory, and the weights of this pod's models take 40"
            in only(host_memory(16 * 10**9, 40 * 10**9)).finding.sentence
        )
        assert bad(host_memory(16 * 10**9, 0)) == []

    @pytest.mark.parametrize(("told", "limit"), [("1000000000\n", 10**9), ("max\n", None), ("nonsense", None)])
    def test_the_limit_of_a_container_counts(self, tmp_path: Path, told: str, limit: int | None) -> None:
        file = tmp_path / "memory.max"
        file.write_text(told)
        everything = memory_limit(())
        assert memory_limit((tmp_path / "absent", file)) == (limit or everything)


class TestDisks:
    def test_what_a_pod_loses_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(f"overlay / overlay rw 0 0\ntmpfs {tmp_path}/models tmpfs rw 0 0\n")
        monkeypatch.setenv("RUNPOD_POD_ID", "pod-1")
        found = bad(examine_disks(settings(monkeypatch, tmp_path), mounts))
        lost = {diagnosis.finding.sentence.partition(": ")[2]: diagnosis.finding.sentence for diagnosis in found}
        assert (
            "lies on the container's own disk"
            in lost["when the pod ends, finished results that are not delivered yet are lost"]
        )
        assert "lies in memory (tmpfs" in lost["when the pod ends, weights are downloaded again"]

    def test_on_a_volume_nothing_is_lost(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(f"overlay / overlay rw 0 0\nnfs {tmp_path} nfs4 rw 0 0\n")
        monkeypatch.setenv("RUNPOD_POD_ID", "pod-1")
        assert bad(examine_disks(settings(monkeypatch, tmp_path), mounts)) == []

    def test_a_folder_that_is_not_there_yet_is_made(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        found = [item for item in examine_disks(settings(monkeypatch, tmp_path)) if item.mend is not None]
        assert all(item.finding.ok for item in found)
        assert mended(found) == [f"made the folder {tmp_path}/spool", f"made the folder {tmp_path}/cache"]
        assert (tmp_path / "spool").is_dir()

    def test_only_downloads_that_nobody_goes_on_with_are_removed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        folder = tmp_path / "models" / "wan"
        folder.mkdir(parents=True)
        (tmp_path / "spool").mkdir()
        (tmp_path / "cache").mkdir()
        old, fresh, held = (folder / f"{name}.safetensors.part" for name in ("old", "fresh", "held"))
        for file in (old, fresh, held, folder / "old.safetensors.part.etag", folder / "whole.safetensors"):
            file.write_bytes(b"x")
        days_ago = time.time() - 2 * LEFT_AFTER
        for file in (old, held, folder / "whole.safetensors"):
            os.utime(file, (days_ago, days_ago))
        found = only(examine_disks(settings(monkeypatch, tmp_path)))
        assert "2 broken-off downloads" in found.finding.sentence
        with held.open("rb") as downloading:
            fcntl.flock(downloading, fcntl.LOCK_EX)
            assert mended([found]) == ["removed 1 of 2 broken-off downloads"]
        assert sorted(file.name for file in folder.iterdir()) == [
            "fresh.safetensors.part",
            "held.safetensors.part",
            "whole.safetensors",
        ]


def mended(found: list[Diagnosis]) -> list[str]:
    async def mend() -> list[str]:
        return [await item.mend() for item in found if item.mend is not None]

    return asyncio.run(mend())


def jwt(**claims: Any) -> str:
    parts = ({"alg": "HS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "signature"])


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "says", "fatal"),
        [
            (jwt(role="anon"), "has the role anon", True),
            (jwt(role="service_role", ref="other"), "belongs to the project other", True),
            (jwt(role="service_role", exp=1), "has expired", True),
            ("sb_publishable_x", "publishable key", True),
            ("something", "neither a JWT nor a secret key", False),
            ("a.%%%.c", "neither a JWT nor a secret key", False),
            (jwt(), "has the role None", True),
        ],
    )
    def test_a_key_of_another_kind(self, key: str, says: str, *, fatal: bool) -> None:
        found = only(examine_service_key(key, URL))
        assert says in found.finding.sentence
        assert found.fatal is fatal
        assert key not in found.finding.sentence

    @pytest.mark.parametrize("key", [jwt(role="service_role", ref="abcdefgh"), "sb_secret_x", jwt(role="service_role")])
    def test_a_key_of_a_service(self, key: str) -> None:
        assert bad(examine_service_key(key, URL)) == []


class TestNetwork:
    @pytest.mark.parametrize(
        ("ours", "says"),
        [(0.0, None), (20.0, None), (-20.0, None), (300.0, "299 s ahead of"), (-300.0, "300 s behind")],
    )
    def test_clocks_that_differ(self, ours: float, says: str | None) -> None:
        moment = 1_784_115_200.0
        found = clock_skew("Wed, 15 Jul 2026 11:33:20 GMT", moment + ours, moment + ours, "host")
        assert found is not None
        assert (found.finding.ok, says is None or says in found.finding.sentence) == (says is None, True)

    @pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Jul 2026 11:33:20 GMT"])
    def test_no_date_is_no_finding(self, date: str | None) -> None:
        assert clock_skew(date, 0.0, 0.0, "host") is None

    @pytest.mark.parametrize(
        ("cause", "says"),
        [
            (socket.gaierror(-2, "Name or service not known"), "the name db.upstash.io is not known here"),
            (ssl.SSLCertVerificationError("self-signed"), "the certificate of db.upstash.io is refused"),
            (ConnectionRefusedError(), "db.upstash.io refuses connections"),
            (TimeoutError(), "db.upstash.io does not answer"),
        ],
    )
    def test_what_stands_in_the_way_is_named(self, cause: Exception, says: str) -> None:
        error = httpx.ConnectError("no way")
        error.__cause__ = ExceptionGroup("several addresses", [OSError("the first"), cause])
        sentence, cure = trouble(error, "db.upstash.io", "UPSTASH_REDIS_REST_URL")
        assert sentence.startswith(says)
        assert "UPSTASH_REDIS_REST_URL" in cure or "SSL_CERT_FILE" in cure

    def test_a_port_that_nobody_listens_on_is_named(self) -> None:
        found = only(run(examine_network({"SUPABASE_URL": f"http://127.0.0.1:{free_port()}"})))
        assert found.finding.sentence == "127.0.0.1 refuses connections"

    def test_a_proxy_is_named_without_its_password(self) -> None:
        found = only(proxies({"https_proxy": "http://me:hunter2@proxy.lan:3128"}))
        assert "proxy.lan:3128" in found.finding.sentence
        assert "hunter2" not in f"{found}"


def run(told: Coroutine[Any, Any, list[Diagnosis]]) -> list[Diagnosis]:
    return asyncio.run(told)


class TestPorts:
    def test_a_port_that_another_program_has(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            chosen = settings(monkeypatch, tmp_path, OURVIDZ_PROBE_PORT=str(port), OURVIDZ_WORKERS="sdxl")
            monkeypatch.setattr("ourvidz_worker.cli.doctor.ports._SECONDS", 0.1)
            found = only(run(examine_ports(chosen)))
        assert f"the ports {port}" in found.finding.sentence

    def test_nobody_asks_for_ports_where_there_are_no_probes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert run(examine_ports(settings(monkeypatch, tmp_path, OURVIDZ_PROBE_PORT="0"))) == []


class TestProcesses:
    def process(self, proc: Path, pid: int, parent: int, *words: str) -> None:
        folder = proc / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes("\0".join(words).encode())
        (folder / "stat").write_text(f"{pid} (py (x) thon) S {parent} 1 1")

    def test_a_worker_without_its_orchestrator_is_named(self, tmp_path: Path) -> None:
        self.process(tmp_path, 10, 1, "python", "orchestrator.py")
        self.process(tmp_path, 11, 10, "python", "-m", "ourvidz_worker", "sdxl")
        self.process(tmp_path, 12, 1, "python", "-m", "ourvidz_worker", "wan")
        self.process(tmp_path, 13, 1, "python", "-m", "ourvidz_worker", "doctor")
        (tmp_path / "14").mkdir()
        found = only(examine_processes(tmp_path))
        assert found.finding.sentence == "a wan worker runs without an orchestrator (process 12)"


class TestSpool:
    def test_what_lies_there_for_long_is_told_and_kept(self, tmp_path: Path) -> None:
        old, new = tmp_path / "results" / "old", tmp_path / "results" / "new"
        for folder in (old, new, tmp_path / "parked" / "refused"):
            folder.mkdir(parents=True)
        os.utime(old, (time.time() - 7200, time.time() - 7200))
        parked, stale = bad(examine_spool(tmp_path))
        assert "1 result that the product refused" in parked.finding.sentence
        assert "1 finished result not delivered" in stale.finding.sentence
        assert (parked.mend, stale.mend) == (None, None), "nothing is removed"

    def test_no_spool_is_no_finding(self, tmp_path: Path) -> None:
        assert list(examine_spool(tmp_path / "absent")) == []


class TestVideo:
    @pytest.mark.parametrize(
        ("variables", "missing", "says"),
        [
            ({}, X264, "libx264 does not open (nothing)"),
            ({"OURVIDZ_VIDEO_ENCODER": "nvenc"}, NVENC, "NVIDIA's encoder does not open (nothing)"),
        ],
    )
    def test_an_encoder_that_does_not_open(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], missing: Any, says: str
    ) -> None:
        chosen = settings(monkeypatch, tmp_path, **variables)
        found = only(examine_video(chosen, lambda coding: "nothing" if coding == missing else None))
        assert found.finding.sentence == says

    def test_without_nvidia_s_encoder_there_is_another(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        probe: Callable[[Any], str | None] = lambda coding: "nothing" if coding == NVENC else None  # noqa: E731
        [found] = examine_video(settings(monkeypatch, tmp_path), probe)
        assert found.finding.sentence == "clips are encoded by libx264"


class TestVersions:
    def test_another_version_than_the_tested_one_is_told(self, tmp_path: Path) -> None:
        constraints = tmp_path / "constraints.txt"
        constraints.write_text("# tested\ntorch==1.0.0+cu118\nnot-installed==9\nav==1 ; python_version > '3'\n")
        found = only(examine_versions(constraints))
        assert "torch 2" in found.finding.sentence
        assert "instead of 1.0.0" in found.finding.sentence
        assert "not-installed" not in found.finding.sentence

    def test_those_of_this_project_are_installed(self) -> None:
        assert bad(examine_versions()) == []
