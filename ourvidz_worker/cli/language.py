"""The language model that the settings choose, and the service over it."""

from __future__ import annotations

from collections.abc import Mapping

from ourvidz_worker.backend.enhancer_client import EnhancerClient
from ourvidz_worker.backend.language.openai import OpenAILanguageModel
from ourvidz_worker.contract.catalogue import JobType, ModelFamily
from ourvidz_worker.engines.assembly import assemble_language
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.ports import ContentPolicy, LanguageModel, PromptEnhancer
from ourvidz_worker.runtime.language.service import PromptService, ServiceEnhancer
from ourvidz_worker.runtime.language.templates import Templates
from ourvidz_worker.runtime.language.warm_model import Sampling
from ourvidz_worker.settings import QwenSettings, Settings


def build_prompt_service(
    settings: QwenSettings,
    *,
    models: ModelsConfig,
    prompts: Mapping[str, str],
    policy: ContentPolicy,
    residency: Residency | None = None,
    queue_limit: int | None = None,
) -> PromptService:
    """Nothing is loaded yet; a model in this process takes its place on the card in `residency`.

    Raises `ConfigurationError` for wrong templates or models that do not exist.
    """

    def of_its_checkpoint(job_type: JobType) -> bool:
        return adult_capable(job_type.model_family, settings, models)

    model, sampling = _language(settings, models, residency)
    return PromptService(
        model,
        templates=Templates(prompts),
        policy=policy,
        adult_capable=of_its_checkpoint,
        sampling=sampling,
        queue_limit=queue_limit,
    )


def build_enhancer(
    settings: Settings,
    *,
    models: ModelsConfig,
    prompts: Mapping[str, str],
    policy: ContentPolicy,
    residency: Residency | None = None,
) -> PromptEnhancer:
    """The qwen worker at OURVIDZ_ENHANCER_URL, or else a language model of one's own; raises `ConfigurationError`."""
    if settings.enhancer_url is not None and settings.qwen_token is not None:
        return EnhancerClient(url=settings.enhancer_url, token=settings.qwen_token.get_secret_value())
    return ServiceEnhancer(
        build_prompt_service(settings, models=models, prompts=prompts, policy=policy, residency=residency)
    )


def adult_capable(family: ModelFamily, settings: QwenSettings, models: ModelsConfig) -> bool:
    """Only real checkpoints can draw people at all."""
    return settings.models == "real" and (models.sdxl if family == "sdxl" else models.wan).adult_capable


def _language(
    settings: QwenSettings, models: ModelsConfig, residency: Residency | None
) -> tuple[LanguageModel, Sampling]:
    if settings.language_model_url is None:
        return assemble_language(
            selection=settings.models,
            models=models,
            models_dir=settings.models_dir,
            cache_dir=settings.cache_dir,
            residency=residency,
        )
    key = settings.language_model_key
    model = OpenAILanguageModel(
        url=settings.language_model_url,
        key=key.get_secret_value() if key else None,
        model_name=settings.language_model_name,
    )
    return model, Sampling(models.qwen.max_new_tokens, models.qwen.temperature, models.qwen.top_p)
