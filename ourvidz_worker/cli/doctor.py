"""`doctor`: everything a worker needs, looked at once, each finding with its cure."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ourvidz_worker import __version__
from ourvidz_worker.backend.health import Finding
from ourvidz_worker.cli.backends import backend_findings
from ourvidz_worker.cli.chosen import chosen_files
from ourvidz_worker.cli.classifier import load_classifier
from ourvidz_worker.cli.language_check import language_findings
from ourvidz_worker.cli.wiring import Configuration, media_options, read_configuration
from ourvidz_worker.engines.assembly import NO_DEMO_MODELS
from ourvidz_worker.engines.volume.weights import missing_adapters, missing_weights
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import QwenSettings, Settings, pod_settings, read_settings
from ourvidz_worker.supervisor.gpu import gpu_memory

LIBRARIES = ("torch", "diffusers", "transformers", "supabase", "upstash-redis", "av")
FREE_GB = 2.0  # a few videos in the spool, and the tiny models
_CONFIGURATION_CURE = "mend or remove the file in OURVIDZ_CONFIG_DIR, then run doctor again"
_ENVIRONMENT_CURE = "set it in the pod's environment, then run doctor again"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding and the part of the worker it is about; `fatal` if a worker cannot run with it."""

    area: str
    finding: Finding
    fatal: bool = True


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a worker could not run."""
    diagnoses = asyncio.run(_examine())
    healthy = all(item.finding.ok for item in diagnoses if item.fatal)
    if arguments.json:
        print(json.dumps({"ok": healthy, "findings": [_as_json(item) for item in diagnoses]}, indent=2))
    else:
        _print(diagnoses, healthy=healthy)
    return 0 if healthy else 1


async def _examine() -> list[Diagnosis]:
    diagnoses = list(_versions())
    settings: QwenSettings | None = None
    configuration = None
    try:
        configuration = read_configuration(chosen_files())
        diagnoses.append(Diagnosis("configuration", Finding(ok=True, sentence="the files in configs/ are sound")))
    except ConfigurationError as error:
        diagnoses += _problems("configuration", error, _CONFIGURATION_CURE)
    try:
        settings = read_settings(pod_settings())
        diagnoses.append(Diagnosis("environment", Finding(ok=True, sentence="every variable is set and well-formed")))
    except ConfigurationError as error:
        diagnoses += _problems("environment", error, _ENVIRONMENT_CURE)
    if settings is None or configuration is None:
        return diagnoses
    return [
        *diagnoses,
        *_models(settings, configuration),
        *_disk(settings),
        *_signing(settings),
        *_classifier(settings),
        *await _language(settings),
        *(await _backend(settings, configuration) if isinstance(settings, Settings) else []),
    ]


def _problems(area: str, error: ConfigurationError, cure: str) -> Iterator[Diagnosis]:
    for problem in error.problems:
        sentence, _, own_cure = problem.partition(": ")
        yield Diagnosis(area, Finding(ok=False, sentence=sentence, cure=own_cure or cure))


def _versions() -> Iterator[Diagnosis]:
    installed = [f"ourvidz-worker {__version__}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            cure = "install the package again: pip install --constraint scripts/constraints.txt ."
            yield Diagnosis("versions", Finding(ok=False, sentence=f"{name} is not installed", cure=cure))
    yield Diagnosis("versions", Finding(ok=True, sentence=", ".join(installed)))


def _models(settings: QwenSettings, configuration: Configuration) -> Iterator[Diagnosis]:
    memory = gpu_memory()
    if memory is None:
        card = Finding(
            ok=settings.models != "real",
            sentence="there is no NVIDIA card, or no driver for it",
            cure="choose a pod with a card of 48 GB; without one, generation on real weights takes hours per video",
        )
        yield Diagnosis("card", card, fatal=False)
    else:
        used = f"{memory.used_gb:.1f} of {memory.total_gb:.1f} GB in use"
        yield Diagnosis("card", Finding(ok=True, sentence=f"the card answers, {used}"))
    if settings.models == "demo":
        sentence, _, cure = NO_DEMO_MODELS.partition("; ")
        yield Diagnosis("models", Finding(ok=False, sentence=sentence, cure=cure))
        return
    if settings.models != "real":
        yield Diagnosis("models", Finding(ok=True, sentence=f"OURVIDZ_MODELS={settings.models}: no weights are needed"))
        return
    for family in settings.workers:
        if family == "qwen" and settings.language_model_url is not None:
            continue  # the findings about the language say whether it answers
        own = settings.own_language_model and "qwen" not in settings.workers
        problems = missing_weights(configuration.models, settings.models_dir, family, own_language_model=own)
        for problem in problems:
            sentence, _, cure = problem.partition("; ")
            yield Diagnosis("models", Finding(ok=False, sentence=sentence, cure=cure))
        if not problems:
            yield Diagnosis("models", Finding(ok=True, sentence=f"the weights of the {family} worker are in place"))
        for problem in missing_adapters(configuration.models, settings.models_dir, family):
            sentence, _, cure = problem.partition("; ")
            yield Diagnosis("models", Finding(ok=False, sentence=sentence, cure=cure), fatal=False)


def _disk(settings: QwenSettings) -> Iterator[Diagnosis]:
    spool = [("OURVIDZ_SPOOL", settings.spool_dir)] if isinstance(settings, Settings) else []
    for name, folder in (*spool, ("OURVIDZ_CACHE", settings.cache_dir)):
        existing = _nearest_existing(folder)
        free = shutil.disk_usage(existing).free / 1e9
        if not os.access(existing, os.W_OK):
            cure = f"make it writable for this user, or set {name} to another folder"
            yield Diagnosis("disk", Finding(ok=False, sentence=f"{existing} cannot be written to", cure=cure))
        elif free < FREE_GB:
            cure = f"free some space, or set {name} to a folder on another disk"
            yield Diagnosis("disk", Finding(ok=False, sentence=f"{existing} has {free:.1f} GB free", cure=cure))
        else:
            yield Diagnosis("disk", Finding(ok=True, sentence=f"{folder} can be written to, {free:.0f} GB free"))


def _signing(settings: QwenSettings) -> Iterator[Diagnosis]:
    signing = media_options(settings).signing if isinstance(settings, Settings) else None
    if signing is None:
        return
    from ourvidz_worker.engines.media.signing import ManifestSigner  # noqa: PLC0415 - brings a native library

    try:
        ManifestSigner(signing)
    except ConfigurationError as error:
        yield from _problems("signing", error, _ENVIRONMENT_CURE)
    else:
        yield Diagnosis("signing", Finding(ok=True, sentence=f"files can be signed with {signing.certificate}"))


def _classifier(settings: QwenSettings) -> Iterator[Diagnosis]:
    name = settings.picture_classifier if isinstance(settings, Settings) else None
    if name is None:
        return
    try:
        load_classifier(name)
    except ConfigurationError as error:
        yield from _problems("classifier", error, _ENVIRONMENT_CURE)
    else:
        yield Diagnosis("classifier", Finding(ok=True, sentence=f"pictures are judged by {name}"))


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


async def _language(settings: QwenSettings) -> list[Diagnosis]:
    """Without its language worker a job keeps its own prompt; the worker itself can do nothing then."""
    fatal = "qwen" in settings.workers
    return [Diagnosis("language", finding, fatal=fatal) for finding in await language_findings(settings)]


async def _backend(settings: Settings, configuration: Configuration) -> list[Diagnosis]:
    types = [job_type for job_type in configuration.catalogue.values() if job_type.model_family in settings.workers]
    findings = await backend_findings(
        settings,
        queues=tuple(sorted({job_type.queue for job_type in types})),
        buckets={job_type.bucket: configuration.catalogue.buckets[job_type.bucket] for job_type in types},
    )
    return [Diagnosis(area, finding) for area, finding in findings]


def _as_json(item: Diagnosis) -> dict[str, object]:
    finding = item.finding
    return {"area": item.area, "ok": finding.ok, "fatal": item.fatal, "finding": finding.sentence, "cure": finding.cure}


def _print(diagnoses: list[Diagnosis], *, healthy: bool) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in diagnoses:
        bad = "[red]problem[/]" if item.fatal else "[yellow]note[/]"
        mark = "[green]ok[/]" if item.finding.ok else bad
        cure = "" if item.finding.ok else f"\n[bold]cure:[/] {escape(item.finding.cure)}"
        table.add_row(mark, item.area, escape(item.finding.sentence) + cure)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)
    console.print("a worker can run" if healthy else "a worker could not run")
