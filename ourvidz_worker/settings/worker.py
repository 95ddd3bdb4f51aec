"""Everything that the orchestrator and the workers that take jobs read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, LiteralString

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from ourvidz_worker.backend.references.hosts import parse_hosts
from ourvidz_worker.contract.callback import CallbackProfile
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.contract.storage_keys import StorageLayout
from ourvidz_worker.engines.media.options import Embeddable, SigningAlgorithm, VideoEncoder
from ourvidz_worker.settings.backends import BackendSettings
from ourvidz_worker.settings.values import WHOLE_SENTENCE, PathOfHome, address_alone, ours, state_folder, values_of

_OBJECT_NAME = re.compile(r"\w+(\.\w+)*:\w+")
_UNSIGNED: LiteralString = (
    "JOB_CALLBACK_SECRET is not set: profile 2026-02 signs its callbacks; set it as in the product's functions"
)
_UNSIGNED_REPORT: LiteralString = (
    "JOB_CALLBACK_SECRET is not set: reports to OURVIDZ_REPORT_URL are signed with it; set it as the receiver has it"
)
_HALF_SIGNED: LiteralString = (
    "OURVIDZ_C2PA_CERTIFICATE and OURVIDZ_C2PA_KEY go together, and one of them is not set: set both, or neither"
)


class Settings(BackendSettings):
    """Every setting of the orchestrator and of a worker that takes jobs; seconds unless a name says otherwise."""

    callback_profile: CallbackProfile = ours("CALLBACK_PROFILE", "2025-07")
    callback_secret: SecretStr | None = Field(default=None, validation_alias="JOB_CALLBACK_SECRET")
    storage_layout: StorageLayout = ours("STORAGE_LAYOUT", "current")
    queue_mode: Literal["held", "rpop"] = ours("QUEUE_MODE", "held")
    pop_end: Literal["right", "left"] = ours("POP_END", "right")
    longest_wait: float = ours("LONGEST_WAIT", 120.0, ge=0, le=86_400)

    reference_hosts: Annotated[tuple[str, ...], NoDecode] = ours("REFERENCE_HOSTS", ())
    reference_fit: Literal["crop", "pad"] = ours("REFERENCE_FIT", "crop")
    picture_classifier: str | None = ours("PICTURE_CLASSIFIER", None)

    embed: Annotated[frozenset[Embeddable], NoDecode] = ours("EMBED", frozenset())
    thumbnails: Literal["on", "off"] = ours("THUMBNAILS", "on")
    video_encoder: VideoEncoder = ours("VIDEO_ENCODER", "auto")
    c2pa_certificate: PathOfHome | None = ours("C2PA_CERTIFICATE", None)
    c2pa_key: PathOfHome | None = ours("C2PA_KEY", None)
    c2pa_algorithm: SigningAlgorithm = ours("C2PA_ALGORITHM", "es256")
    c2pa_timestamp_url: str | None = ours("C2PA_TIMESTAMP_URL", None)

    spool_dir: PathOfHome = ours("SPOOL", state_folder("spool"))
    spool_reserve: int = ours("SPOOL_RESERVE", 1024, ge=0)  # MiB

    lease: int = ours("LEASE", 90, ge=3)
    reap_interval: float = ours("REAP_INTERVAL", 300.0, gt=0)
    job_deadline: float = ours("JOB_DEADLINE", 900.0, gt=0)
    sdxl_poll: float = ours("SDXL_POLL", 2.0, gt=0)
    wan_poll: float = ours("WAN_POLL", 5.0, gt=0)
    poll_limit: float = ours("POLL_LIMIT", 0.0, ge=0, le=3600)
    sdxl_batch: int = ours("SDXL_BATCH", 1, ge=1, le=24)  # pictures

    @field_validator("reference_hosts", mode="before")
    @classmethod
    def _parse_reference_hosts(cls, value: object) -> object:
        return parse_hosts(value) if isinstance(value, str) else value

    @field_validator("picture_classifier")
    @classmethod
    def _check_classifier(cls, value: str | None) -> str | None:
        if value is not None and not _OBJECT_NAME.fullmatch(value):
            raise ValueError("must be package.module:name")
        return value

    @field_validator("embed", mode="before")
    @classmethod
    def _split_embed(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("c2pa_timestamp_url")
    @classmethod
    def _check_timestamp_url(cls, value: str | None) -> str | None:
        return value and address_alone(value)

    @field_validator("c2pa_key")
    @classmethod
    def _check_signing(cls, value: Path | None, known: ValidationInfo) -> Path | None:
        if (value is None) != (known.data.get("c2pa_certificate") is None):
            raise PydanticCustomError(WHOLE_SENTENCE, _HALF_SIGNED)
        return value

    @field_validator("callback_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        if value is None and known.data.get("callback_profile") == "2026-02":
            raise PydanticCustomError(WHOLE_SENTENCE, _UNSIGNED)
        if value is None and known.data.get("report_url"):
            raise PydanticCustomError(WHOLE_SENTENCE, _UNSIGNED_REPORT)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*values_of(self.callback_secret), *super().secrets)

    def poll_interval(self, family: ModelFamily) -> float:
        return self.sdxl_poll if family == "sdxl" else self.wan_poll

    def batch_of(self, family: ModelFamily) -> int:
        """How many pictures of several jobs one batch may hold."""
        return self.sdxl_batch if family == "sdxl" else 1


class ServerlessSettings(Settings):
    """Of a worker whose jobs are handed to it: it needs no Redis."""

    redis_rest_url: str = Field(default="", validation_alias="UPSTASH_REDIS_REST_URL", validate_default=False)
    redis_rest_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="UPSTASH_REDIS_REST_TOKEN", validate_default=False
    )
