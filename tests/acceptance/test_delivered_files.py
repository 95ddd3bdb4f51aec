"""What a real worker leaves in Storage: marked and signed files with thumbnails, within the limits of their buckets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import c2pa
import pytest
from PIL import Image

from tests.support.certificates import Identity, issue
from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.waiting import wait_until

QUICK = {"OURVIDZ_MODELS": "testcard", "OURVIDZ_SDXL_POLL": "0.05", "OURVIDZ_WAN_POLL": "0.05"}
Start = Callable[[str], RunningCommand]


@pytest.fixture(scope="module")
def identity() -> Identity:
    return issue()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    folder = tmp_path_factory.mktemp("backend")
    with RunningBackend(folder, callback_profile="2026-02", callback_secret="secret") as running:
        yield running


@pytest.fixture
def environment(backend: RunningBackend, identity: Identity, tmp_path: Path) -> dict[str, str]:
    certificate, key = identity.write(tmp_path)
    return {
        **backend.environment(),
        **QUICK,
        "OURVIDZ_CALLBACK_PROFILE": "2026-02",
        "OURVIDZ_SPOOL": str(tmp_path / "spool"),
        "OURVIDZ_C2PA_CERTIFICATE": str(certificate),
        "OURVIDZ_C2PA_KEY": str(key),
        "OURVIDZ_EMBED": "seed",
    }


def delivered(backend: RunningBackend, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Submit a recorded job; returns its row when it is completed, and the rows of its files."""
    payload: Mapping[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())

    def row() -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            # On the server's own loop, so that no callback is half recorded.
            return backend.backend.job(job_id)

        found = backend.run(look())
        assert found is not None
        return found

    job_id = backend.run(backend.backend.submit(payload))
    wait_until(lambda: row()["status"] == "completed", f"{name} completed", seconds=COMMAND_SECONDS)
    files = backend.backend.rows("workspace_assets", job_id)
    return row(), sorted(files, key=lambda file: int(file["asset_index"]))


def set_bucket(backend: RunningBackend, bucket: str, **limits: Any) -> None:
    backend.backend._database.update("buckets", limits, "id = ?", [bucket])


def verdict(content: bytes, media_type: str, identity: Identity) -> str:
    trust = {"trust": {"trust_anchors": identity.root}, "verify": {"verify_trust": True}}
    with c2pa.Reader(media_type, BytesIO(content), context=c2pa.Context.from_dict(trust)) as reader:
        return str(reader.get_validation_state())


def test_pictures_are_signed_and_have_thumbnails_where_the_bucket_takes_them(
    backend: RunningBackend, environment: dict[str, str], identity: Identity
) -> None:
    name = "sdxl_image_fast.2026-02"
    bucket = "sdxl_image_fast"
    with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment) as worker:
        _, files = delivered(backend, name)
        assert files
        for file in files:
            picture = backend.backend.file(bucket, file["temp_storage_path"]).read_bytes()
            small = backend.backend.file(bucket, file["thumbnail_path"]).read_bytes()
            assert verdict(picture, "image/png", identity) == verdict(small, "image/webp", identity) == "Trusted"
            assert f"<ourvidz:Seed>{file['generation_seed']}</ourvidz:Seed>".encode() in picture
            assert max(Image.open(BytesIO(small)).size) == 256
        worker.stop()  # killed before it acknowledged, it would leave the next worker its result to deliver
    assert identity.key.splitlines()[1] not in worker.log()
    set_bucket(backend, bucket, allowed_mime_types=["image/png"])
    with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment) as worker:
        _, files = delivered(backend, name)
        assert [file["thumbnail_path"] for file in files] == [None] * len(files)
    assert "bucket sdxl_image_fast takes no image/webp" in worker.log()


def test_a_video_over_its_buckets_limit_is_delivered_smaller(
    backend: RunningBackend, environment: dict[str, str], identity: Identity
) -> None:
    limit = 25_000
    set_bucket(backend, "video_fast", file_size_limit=limit)
    with RunningCommand(["-m", "ourvidz_worker", "wan"], environment):
        row, (file,) = delivered(backend, "video_fast")
    path = backend.backend.file("video_fast", file["temp_storage_path"])
    assert path.stat().st_size <= limit
    assert verdict(path.read_bytes(), "video/mp4", identity) == "Trusted"
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 81
    assert row["metadata"]["video_bitrate_reduced"] is True
    assert row["metadata"]["video_bit_rate"] <= limit * 8 / (81 / 16)


def test_a_certificate_that_cannot_sign_keeps_the_worker_from_starting(environment: dict[str, str]) -> None:
    Path(environment["OURVIDZ_C2PA_KEY"]).write_text(issue().key)
    result = run_command("sdxl", environment=environment)
    assert result.returncode == 78
    assert "cannot sign" in result.stderr
    assert environment["OURVIDZ_C2PA_CERTIFICATE"] in result.stderr
    findings = json.loads(run_command("doctor", "--json", environment=environment).stdout)["findings"]
    (problem,) = [finding for finding in findings if finding["area"] == "signing"]
    assert (problem["ok"], problem["fatal"]) == (False, True)
    assert problem["finding"].endswith("cannot sign")
    assert problem["cure"].startswith("give a PEM chain")
