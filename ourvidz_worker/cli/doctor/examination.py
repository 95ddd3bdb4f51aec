"""The doctor's round, in the order in which one finding rules others out."""

from __future__ import annotations

from collections.abc import Iterator

from ourvidz_worker.cli.backends import backend_findings
from ourvidz_worker.cli.chosen import chosen_files
from ourvidz_worker.cli.classifier import load_classifier
from ourvidz_worker.cli.doctor.card import examine_card
from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, problems_of
from ourvidz_worker.cli.doctor.disks import examine_disks
from ourvidz_worker.cli.doctor.driver import installed_driver, torch_cuda
from ourvidz_worker.cli.doctor.keys import examine_service_key
from ourvidz_worker.cli.doctor.machine import examine_machine
from ourvidz_worker.cli.doctor.network import examine_network
from ourvidz_worker.cli.doctor.ports import examine_ports
from ourvidz_worker.cli.doctor.processes import examine_processes
from ourvidz_worker.cli.doctor.queues import examine_queues
from ourvidz_worker.cli.doctor.spooled import examine_spool
from ourvidz_worker.cli.doctor.versions import examine_versions
from ourvidz_worker.cli.doctor.video import examine_video
from ourvidz_worker.cli.doctor.weights import examine_weights, weights_bytes
from ourvidz_worker.cli.language_check import language_findings
from ourvidz_worker.cli.plan.cards import parse_cards
from ourvidz_worker.cli.wiring import Configuration, media_options, read_configuration
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import QwenSettings, Settings, pod_settings, read_settings
from ourvidz_worker.supervisor.gpu import visible_cards

_CONFIGURATION_CURE = "mend or remove the file in OURVIDZ_CONFIG_DIR, then run doctor again"
_ENVIRONMENT_CURE = "set it in the pod's environment, then run doctor again"


async def examine() -> list[Diagnosis]:
    diagnoses = list(examine_versions())
    settings: QwenSettings | None = None
    configuration = None
    try:
        files = chosen_files()
        configuration = read_configuration(files)
        diagnoses.append(good("configuration", "the files in configs/ are sound"))
    except ConfigurationError as error:
        diagnoses += problems_of("configuration", error, _CONFIGURATION_CURE)
    try:
        settings = read_settings(pod_settings())
        diagnoses.append(good("environment", "every variable is set and well-formed"))
    except ConfigurationError as error:
        diagnoses += problems_of("environment", error, _ENVIRONMENT_CURE)
    if settings is None or configuration is None:
        return diagnoses
    models = configuration.models
    diagnoses += [
        *examine_card(settings, visible_cards(), installed_driver(), torch_cuda(), _needs_gb(files)),
        *examine_machine(weights_bytes(settings, models)),
        *examine_weights(settings, models),
        *examine_disks(settings),
        *await examine_ports(settings),
        *examine_processes(),
        *await _language(settings),
    ]
    return [*diagnoses, *(await _jobs(settings, configuration) if isinstance(settings, Settings) else [])]


async def _jobs(settings: Settings, configuration: Configuration) -> list[Diagnosis]:
    """What only workers need that take jobs."""
    types = [job_type for job_type in configuration.catalogue.values() if job_type.model_family in settings.workers]
    queues = tuple(sorted({job_type.queue for job_type in types}))
    buckets = {job_type.bucket: configuration.catalogue.buckets[job_type.bucket] for job_type in types}
    return [
        *_signing(settings),
        *_classifier(settings),
        *examine_video(settings),
        *_keys(settings),
        *await examine_network(_urls(settings)),
        *(
            Diagnosis(area, finding)
            for area, finding in await backend_findings(settings, queues=queues, buckets=buckets)
        ),
        *await examine_queues(settings, queues),
        *examine_spool(settings.spool_dir),
    ]


def _needs_gb(files: ConfigFiles) -> dict[str, float]:
    try:
        return dict(parse_cards(files.text("cards.toml"), "cards.toml").needs_gb)
    except ConfigurationError:  # only `plan` needs the list
        return {}


def _keys(settings: Settings) -> Iterator[Diagnosis]:
    if settings.supabase_url:
        yield from examine_service_key(settings.supabase_service_key.get_secret_value(), settings.supabase_url)


def _urls(settings: Settings) -> dict[str, str]:
    named = {"SUPABASE_URL": settings.supabase_url, "UPSTASH_REDIS_REST_URL": settings.redis_rest_url}
    return {variable: url for variable, url in named.items() if url}


def _signing(settings: Settings) -> Iterator[Diagnosis]:
    signing = media_options(settings).signing
    if signing is None:
        return
    from ourvidz_worker.engines.media.signing import ManifestSigner  # noqa: PLC0415 - brings a native library

    try:
        ManifestSigner(signing)
    except ConfigurationError as error:
        yield from problems_of("signing", error, _ENVIRONMENT_CURE)
    else:
        yield good("signing", f"files can be signed with {signing.certificate}")


def _classifier(settings: Settings) -> Iterator[Diagnosis]:
    name = settings.picture_classifier
    if name is None:
        return
    try:
        load_classifier(name)
    except ConfigurationError as error:
        yield from problems_of("classifier", error, _ENVIRONMENT_CURE)
    else:
        yield good("classifier", f"pictures are judged by {name}")


async def _language(settings: QwenSettings) -> list[Diagnosis]:
    """Without its language worker a job keeps its own prompt; the worker itself can do nothing then."""
    fatal = "qwen" in settings.workers
    return [Diagnosis("language", finding, fatal=fatal) for finding in await language_findings(settings)]
