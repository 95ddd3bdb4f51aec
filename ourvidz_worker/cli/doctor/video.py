"""Whether clips can be written here."""

from __future__ import annotations

from collections.abc import Iterator

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, problem
from ourvidz_worker.engines.media.coding import NVENC, X264, Probe, problem_of
from ourvidz_worker.settings import Settings


def examine_video(settings: Settings, probe: Probe = problem_of) -> Iterator[Diagnosis]:
    if "wan" not in settings.workers:
        return
    if (trouble := probe(X264)) is not None:
        cure = "install PyAV's own wheels again, which bring libx264"
        yield problem("video", f"libx264 does not open ({trouble})", cure)
        return
    hardware = None if settings.video_encoder == "x264" else probe(NVENC)
    if settings.video_encoder == "nvenc" and hardware is not None:
        cure = "set OURVIDZ_VIDEO_ENCODER to auto, or choose a card that has an encoder (A100, H100 and H200 have none)"
        yield problem("video", f"NVIDIA's encoder does not open ({hardware})", cure)
    else:
        by = "libx264" if settings.video_encoder == "x264" or hardware is not None else "NVIDIA's encoder, else libx264"
        yield good("video", f"clips are encoded by {by}")
