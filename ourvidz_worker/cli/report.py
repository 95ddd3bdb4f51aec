"""What became of the jobs of a demo or a replay, as JSON for programs and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ourvidz_worker.cli.plain import FINAL, printable
from ourvidz_worker.local.backend import EmbeddedBackend


def build_report(backend: EmbeddedBackend, job_ids: Sequence[str]) -> dict[str, Any]:
    """`ok` is true only if every job completed."""
    jobs = [_job(backend, job_id) for job_id in job_ids]
    return {"ok": all(job["status"] == "completed" for job in jobs), "jobs": jobs}


def write_report(report: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def print_table(report: dict[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("type", "left"), ("status", "left"), ("seconds", "right"), ("files", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for job in report["jobs"]:
        colour = {"completed": "green", "failed": "red"}.get(job["status"], "yellow")
        seconds = "" if job["seconds"] is None else f"{job['seconds']:.1f}"
        job_type, files = (Text(printable(text)) for text in (job["type"], _files(job)))
        table.add_row(job_type, f"[{colour}]{job['status']}[/]", seconds, files)
    console.print(table)


def _files(job: dict[str, Any]) -> str:
    if job["error"]:
        return str(job["error"]["message"])
    first, *others = job["assets"] or [None]
    if first is None:
        return ""
    size = sum(asset["bytes"] for asset in job["assets"]) / 1e6
    frames = f", {first['frames']} frames" if first["frames"] > 1 else ""
    count = f"{1 + len(others)} x " if others else ""
    return f"{count}{first['media_type']} {first['width']}x{first['height']}{frames}, {size:.1f} MB"


def _job(backend: EmbeddedBackend, job_id: str) -> dict[str, Any]:
    row = backend.job(job_id)
    if row is None:
        raise KeyError(job_id)
    callbacks = backend.rows("callbacks", job_id)
    last = json.loads(callbacks[-1]["body"]) if callbacks else {}
    metadata = last.get("metadata") or {}
    failed = row["status"] == "failed"
    return {
        "id": job_id,
        "type": row["job_type"],
        "status": row["status"],
        "attempt": metadata.get("attempt"),
        "seconds": _seconds(callbacks),
        "assets": [_asset(backend, asset) for asset in row["assets"]],
        "metadata": metadata,
        "error": {"type": metadata.get("error_type"), "message": row["error_message"]} if failed else None,
    }


def _seconds(callbacks: list[dict[str, Any]]) -> float | None:
    """From the first report to the last: from the start of the generation to the finished delivery."""
    if not callbacks or callbacks[-1]["status"] not in FINAL:
        return None
    first, last = (datetime.fromisoformat(callbacks[index]["received_at"]) for index in (0, -1))
    return round((last - first).total_seconds(), 3)


def _asset(backend: EmbeddedBackend, asset: dict[str, Any]) -> dict[str, Any]:
    """Sizes are measured in the stored file, not taken from what the worker says."""
    width, height, frames = _measured(backend.file(asset["bucket"], asset["key"]), asset["media_type"])
    return {
        "bucket": asset["bucket"],
        "key": asset["key"],
        "bytes": asset["bytes"],
        "media_type": asset["media_type"],
        "width": width,
        "height": height,
        "frames": frames,
    }


def _measured(file: Path, media_type: str) -> tuple[int, int, int]:
    if media_type.startswith("video/"):
        import av  # noqa: PLC0415 - only where there are videos

        with av.open(file) as container:
            stream = container.streams.video[0]
            return stream.width, stream.height, sum(1 for _ in container.decode(stream))
    from PIL import Image  # noqa: PLC0415 - only where there are pictures

    with Image.open(file) as picture:
        return picture.width, picture.height, 1
