"""The composition root: settings become objects."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.cli.backends import build_references, build_reporter, build_rows, build_store
from ourvidz_worker.cli.card import build_residency
from ourvidz_worker.cli.chosen import read_catalogue, read_models
from ourvidz_worker.cli.classifier import load_classifier
from ourvidz_worker.cli.language import adult_capable, build_enhancer
from ourvidz_worker.cli.queueing import build_queue
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import MIB, Catalogue, ModelFamily
from ourvidz_worker.control import Announcer
from ourvidz_worker.engines.assembly import Engines, assemble
from ourvidz_worker.engines.media.options import MediaOptions, Signing
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import ContentPolicy, Engine, JobQueue, PromptEnhancer, ReferenceSource
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.handling import Handler, Terms
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.inspection import Inspection
from ourvidz_worker.runtime.lease import LeaseKeeper, LeaseTimes
from ourvidz_worker.runtime.patience import Patience
from ourvidz_worker.runtime.policy import ClassifiedPolicy, TextPolicy
from ourvidz_worker.runtime.preparation import Preparation
from ourvidz_worker.runtime.previews import Previews
from ourvidz_worker.runtime.reaper import Reaper
from ourvidz_worker.runtime.spool import Spool
from ourvidz_worker.runtime.studio import Studio
from ourvidz_worker.runtime.worker import Worker
from ourvidz_worker.settings import Settings

REMEMBERED_TEXTS = 64


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything read from `configs/`."""

    catalogue: Catalogue
    models: ModelsConfig
    prompts: dict[str, str]
    policy: ContentPolicy


def read_configuration(files: ConfigFiles) -> Configuration:
    """Raises `ConfigurationError` naming the file and what is wrong in it."""
    try:
        return Configuration(
            catalogue=read_catalogue(files),
            models=read_models(files),
            prompts=files.texts("prompts"),
            policy=TextPolicy.parse(list(files.texts("policy").values()), remembered=REMEMBERED_TEXTS),
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def build_courier(
    settings: Settings,
    catalogue: Catalogue,
    spool: Spool,
    *,
    lease: LeaseKeeper | None = None,
    patience: CallbackPatience | None = None,
) -> Courier:
    """Nothing is sent, and nothing repeated, once the `lease` is lost."""
    sleep, guard = (asyncio.sleep, _nothing_to_lose) if lease is None else (lease.sleep, lease.check)
    return Courier(
        build_store(settings, catalogue, sleep=sleep),
        build_reporter(settings, patience=patience, sleep=sleep),
        build_rows(settings),
        spool,
        guard=guard,
    )


def _nothing_to_lose() -> None:
    """A person's own command holds no job under a lease."""


def media_options(settings: Settings) -> MediaOptions:
    signing = None
    if settings.c2pa_certificate is not None and settings.c2pa_key is not None:
        signing = Signing(
            certificate=settings.c2pa_certificate,
            key=settings.c2pa_key,
            algorithm=settings.c2pa_algorithm,
            timestamp_url=settings.c2pa_timestamp_url,
        )
    return MediaOptions(
        embed=settings.embed,
        thumbnails=settings.thumbnails == "on",
        signing=signing,
        video_encoder=settings.video_encoder,
    )


@dataclass(frozen=True, slots=True)
class BuiltWorker:
    """A worker and what must be closed after it."""

    worker: Worker
    queue: JobQueue
    courier: Courier
    references: ReferenceSource
    enhancer: PromptEnhancer

    async def close(self) -> None:
        await self.queue.close()
        await self.courier.close()
        await self.references.close()
        await self.enhancer.close()


def build_worker(
    family: ModelFamily,
    settings: Settings,
    *,
    owner: str,
    announcer: Announcer,
    channel: ControlChannel | None = None,
    engines: Engines | None = None,
    queue: JobQueue | None = None,
) -> BuiltWorker:
    """Raises `ConfigurationError` with every finding of the configuration files.

    The card is shared with others through the `channel`. `engines` and `queue` take the place of those that the
    settings select.
    """
    configuration = read_configuration(ConfigFiles(settings.config_dir))
    residency = build_residency(configuration.models, channel)
    engines = engines or assemble(
        family,
        selection=settings.models,
        models=configuration.models,
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir,
        prompts=configuration.prompts,
        reference_fit=settings.reference_fit,
        media=media_options(settings),
        own_language_model=settings.own_language_model,
        residency=residency,
    )
    enhancer = build_enhancer(
        settings,
        models=configuration.models,
        prompts=configuration.prompts,
        policy=configuration.policy,
        residency=residency,
    )
    name = configuration.catalogue.queue_of(family)
    queue = queue or build_queue(settings, name, owner, fast=configuration.catalogue.fast_types(name))
    holdings = Holdings(queue)
    lease = LeaseKeeper(queue, holdings, LeaseTimes(settings.lease))
    spool = Spool(settings.spool_dir, reserve_bytes=settings.spool_reserve * MIB)
    courier = build_courier(settings, configuration.catalogue, spool, lease=lease)
    references = build_references(settings)
    inspection = Inspection(
        _with_classifier(configuration.policy, settings.picture_classifier),
        adult_capable=adult_capable(family, settings, configuration.models),
    )
    preparation = Preparation(
        engine=engines.engine,
        enhancer=enhancer,
        references=references,
        inspection=inspection,
        enhancement_limit=settings.enhancement_limit,
    )
    studio = Studio(
        engine=engines.engine,
        encoder=engines.encoder,
        inspection=inspection,
        spool=spool,
        layout=settings.storage_layout,
        previews=_previews(settings, engines.engine, announcer),
    )
    handler = Handler(
        queue=queue,
        holdings=holdings,
        lease=lease,
        catalogue=configuration.catalogue,
        preparation=preparation,
        studio=studio,
        courier=courier,
        spool=spool,
        announcer=announcer,
        terms=Terms(
            job_deadline=settings.job_deadline,
            most_images=settings.batch_of(family),
            rows_tell=settings.callback_profile == "2026-02",
        ),
    )
    worker = Worker(
        queue=queue,
        holdings=holdings,
        lease=lease,
        reaper=Reaper(queue, holdings, spool, lease_seconds=settings.lease, interval=settings.reap_interval),
        studio=studio,
        handler=handler,
        announcer=announcer,
        shortage=spool.shortage,
        patience=Patience(settings.poll_interval(family), settings.poll_limit),
        grace_period=settings.grace_period,
    )
    return BuiltWorker(worker, queue, courier, references, enhancer)


def _previews(settings: Settings, engine: Engine, announcer: Announcer) -> Previews | None:
    """None where they are off, and where a classifier would have to look at each of them first."""
    if settings.previews == "off":
        return None
    if settings.picture_classifier is not None:
        structlog.get_logger().info(
            "previews_off", reason="OURVIDZ_PICTURE_CLASSIFIER judges finished pictures, and a preview is shown before"
        )
        return None
    from ourvidz_worker.engines.media.pictures import preview  # noqa: PLC0415 - Pillow, only where it works

    return Previews(engine.glimpse, preview, announcer)


def _with_classifier(policy: ContentPolicy, name: str | None) -> ContentPolicy:
    return policy if name is None else ClassifiedPolicy(policy, load_classifier(name))
