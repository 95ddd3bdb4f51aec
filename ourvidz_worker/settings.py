"""The settings of a process, from the environment alone, validated once with every problem listed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, LiteralString, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ourvidz_worker.backend.loopback import is_loopback
from ourvidz_worker.backend.objects.places import Place, S3Bucket, parse_place
from ourvidz_worker.backend.redis.address import check_address, passwords
from ourvidz_worker.backend.references.hosts import parse_hosts
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.callback import CallbackProfile
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.contract.storage_keys import StorageLayout
from ourvidz_worker.control import WorkerKind
from ourvidz_worker.engines.media.options import Embeddable, SigningAlgorithm, VideoEncoder
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.supervisor.roster import Roster, parse_roster, roster_of

ModelSelection = Literal["real", "tiny", "testcard", "demo"]
AnyValue = TypeVar("AnyValue", str, SecretStr)

_VARIABLES = {
    "supabase_url": "SUPABASE_URL",
    "supabase_service_key": "SUPABASE_SERVICE_KEY",
    "redis_rest_url": "UPSTASH_REDIS_REST_URL",
    "redis_rest_token": "UPSTASH_REDIS_REST_TOKEN",
}
_CURES = {
    "SUPABASE_URL": "set it to the project's address, like https://<project>.supabase.co",
    "SUPABASE_SERVICE_KEY": "set it (or SUPABASE_SERVICE_ROLE_KEY) to the project's service role key",
    "UPSTASH_REDIS_REST_URL": "set it to the database's REST address, like https://<name>.upstash.io",
    "UPSTASH_REDIS_REST_TOKEN": "set it to the database's REST token",
}

QWEN_CURE = "set it to a long random text, like `openssl rand -hex 32` prints; whoever asks this worker must send it"


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and no home folder is known; write the whole path") from None


PathOfHome = Annotated[Path, AfterValidator(_expanded)]
"""`~/models` also where no shell has seen it, as in an environment file."""

_OBJECT_NAME = re.compile(r"\w+(\.\w+)*:\w+")
_SHORTEST_SECRET = 6  # a tenant's number would be struck out of every line
_HEADER_VALUE = re.compile(r"[ -~]+")
_UNREPEATED = (
    "OURVIDZ_QWEN_TOKEN",
    "OURVIDZ_LANGUAGE_MODEL_KEY",
    "OURVIDZ_LANGUAGE_MODEL_URL",
    "OURVIDZ_ENHANCER_URL",
    "OURVIDZ_C2PA_TIMESTAMP_URL",
    "OURVIDZ_STATUS_URL",
    "OURVIDZ_QUEUE_URL",
    "OURVIDZ_STORE_URL",
    "OURVIDZ_REPORT_URL",
)
_UNREACHED = (
    "OURVIDZ_QWEN_HOST is {host}, where only this machine reaches the language worker that OURVIDZ_REGISTER_FUNCTION "
    "makes known to the product: set OURVIDZ_QWEN_HOST to 0.0.0.0, or leave OURVIDZ_REGISTER_FUNCTION away"
)
_NO_PUBLIC_URL = (
    "OURVIDZ_PUBLIC_URL is not set, and neither is RUNPOD_POD_ID: OURVIDZ_REGISTER_FUNCTION makes the language worker "
    "known to the product; set OURVIDZ_PUBLIC_URL to the https address at which it is reached from outside"
)
_WHOLE = "whole_sentence"  # pydantic names a field whose default is wrong by our name, not the variable's
_UNSIGNED: LiteralString = (
    "JOB_CALLBACK_SECRET is not set: profile 2026-02 signs its callbacks; set it as in the product's functions"
)
_UNSIGNED_REPORT: LiteralString = (
    "JOB_CALLBACK_SECRET is not set: reports to OURVIDZ_REPORT_URL are signed with it; set it as the receiver has it"
)
_NO_AWS_KEYS: LiteralString = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: OURVIDZ_STORE_URL names an S3 bucket; set both, or run "
    "under a role (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_FULL_URI)"
)
_HALF_AWS: LiteralString = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together, and one of them is not set: set both"
)
_UNKNOWN_CALLER: LiteralString = (
    "OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_ENHANCER_URL names a qwen worker, which wants the token that it was given"
)
_HALF_SIGNED: LiteralString = (
    "OURVIDZ_C2PA_CERTIFICATE and OURVIDZ_C2PA_KEY go together, and one of them is not set: set both, or neither"
)


def _ours(name: str, default: Any, **constraints: Any) -> Any:
    return Field(default=default, validation_alias=f"OURVIDZ_{name}", **constraints)


def _state_folder(name: str) -> Path:
    try:
        return Path.home() / ".cache" / "ourvidz_worker" / name
    except RuntimeError:  # no home folder, as in some containers
        return Path(tempfile.gettempdir()) / "ourvidz_worker" / name


class VolumeSettings(BaseSettings):
    """Where weights and configuration files lie."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    models_dir: PathOfHome = _ours("MODELS_DIR", Path("/workspace/models"))
    config_dir: PathOfHome | None = _ours("CONFIG_DIR", None)


class HubSettings(VolumeSettings):
    """All that the `models` commands need; the names of the variables are the hub's own."""

    hub_url: str = Field(default="https://huggingface.co", validation_alias="HF_ENDPOINT")
    hub_token: SecretStr | None = Field(default=None, validation_alias="HF_TOKEN")

    @field_validator("hub_url", "hub_token", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return _stripped(value)

    @field_validator("hub_url")
    @classmethod
    def _check_address(cls, value: str) -> str:
        return _address(value)

    @field_validator("hub_token")
    @classmethod
    def _check_header(cls, value: SecretStr | None) -> SecretStr | None:
        return value and _header_value(value)

    @property
    def secrets(self) -> tuple[str, ...]:
        return _values(self.hub_token)


class RosterSettings(VolumeSettings):
    """The workers of a pod: those of OURVIDZ_WORKERS, and where that is not set, those of `workers.toml`."""

    roster: Annotated[Roster, NoDecode] = _ours("WORKERS", None, validate_default=True)

    @field_validator("roster", mode="before")
    @classmethod
    def _read_roster(cls, value: object, known: ValidationInfo) -> object:
        if isinstance(value, str):
            return roster_of([part.strip() for part in value.split(",") if part.strip()])
        return value or _roster_of_file(known.data.get("config_dir"))

    @property
    def workers(self) -> tuple[WorkerKind, ...]:
        """Which kinds the pod has."""
        return self.roster.kinds


class QwenSettings(RosterSettings):
    """What every process reads, and all that the language worker needs; seconds unless a name says otherwise."""

    models: ModelSelection = _ours("MODELS", "real")
    cache_dir: PathOfHome = _ours("CACHE", _state_folder("models"))

    enhancer_url: str | None = _ours("ENHANCER_URL", None)
    qwen_host: str = _ours("QWEN_HOST", "127.0.0.1")
    qwen_port: int = _ours("QWEN_PORT", 8791, ge=1, le=65535)
    qwen_token: SecretStr | None = _ours("QWEN_TOKEN", None)
    qwen_queue: int = _ours("QWEN_QUEUE", 8, ge=0)  # requests
    register_function: str | None = _ours("REGISTER_FUNCTION", None, pattern=r"^[A-Za-z0-9_-]+$")
    public_url: str | None = _ours("PUBLIC_URL", None)
    language_model_url: str | None = _ours("LANGUAGE_MODEL_URL", None)
    language_model_key: SecretStr | None = _ours("LANGUAGE_MODEL_KEY", None)
    language_model_name: str | None = _ours("LANGUAGE_MODEL_NAME", None)
    enhancement_limit: float = _ours("ENHANCEMENT_LIMIT", 60.0, gt=0)

    grace_period: float = _ours("GRACE_PERIOD", 30.0, ge=0)
    sdxl_restart_delay: float = _ours("SDXL_RESTART_DELAY", 10.0, gt=0)
    wan_restart_delay: float = _ours("WAN_RESTART_DELAY", 15.0, gt=0)
    qwen_restart_delay: float = _ours("QWEN_RESTART_DELAY", 10.0, gt=0)
    restart_limit: int = _ours("RESTART_LIMIT", 5, ge=1)
    healthy_after: float = _ours("HEALTHY_AFTER", 60.0, ge=0)
    silence_limit: float = _ours("SILENCE_LIMIT", 120.0, gt=0)
    step_limit: float = _ours("STEP_LIMIT", 300.0, gt=0)
    load_limit: float = _ours("LOAD_LIMIT", 1800.0, gt=0)
    status_interval: float = _ours("STATUS_INTERVAL", 60.0, gt=0)
    status_file: PathOfHome | None = _ours("STATUS_FILE", None)

    status_url: str = _ours("STATUS_URL", "http://127.0.0.1:9400")
    probe_host: str = _ours("PROBE_HOST", "127.0.0.1")
    probe_port: int | None = _ours("PROBE_PORT", None, ge=0, le=65535)
    previews: Literal["on", "off"] = _ours("PREVIEWS", "off")

    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otlp_headers: SecretStr | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_HEADERS")
    otlp_traces_headers: SecretStr | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    otel_disabled: str = Field(default="false", validation_alias="OTEL_SDK_DISABLED")
    otel_exporter: str = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")

    log_level: Literal["debug", "info", "warning", "error"] = _ours("LOG_LEVEL", "info")
    log_format: Literal["auto", "json", "console"] = _ours("LOG_FORMAT", "auto")

    @field_validator("qwen_token", "language_model_key", "enhancer_url", "language_model_url", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        """Blanks alone set nothing, least of all a token that everybody has."""
        return _stripped(value) or None

    @field_validator("status_url")
    @classmethod
    def _check_pods(cls, value: str) -> str:
        return ",".join(_address(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        return value and _safe_address(value)

    @field_validator("qwen_host", mode="before")
    @classmethod
    def _bare_host(cls, value: object) -> object:
        """An IPv6 address also as URLs have it, in brackets."""
        return value.strip().removeprefix("[").removesuffix("]") if isinstance(value, str) else value

    @field_validator("enhancer_url", "language_model_url", "otlp_endpoint", "otlp_traces_endpoint")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        return value and _address(value)

    @field_validator("qwen_token", "language_model_key")
    @classmethod
    def _check_header(cls, value: SecretStr | None) -> SecretStr | None:
        return value and _header_value(value)

    @field_validator("qwen_token")
    @classmethod
    def _check_token(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        if value is None and known.data.get("enhancer_url"):
            raise PydanticCustomError(_WHOLE, _UNKNOWN_CALLER)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, so that logging can strike them out."""
        headers = (
            part for held in (self.otlp_headers, self.otlp_traces_headers) if held for part in _header_secrets(held)
        )
        return (*_values(self.qwen_token, self.language_model_key), *headers)

    @property
    def traced(self) -> bool:
        """Whether traces of jobs go to a collector."""
        switched_off = self.otel_disabled.strip().lower() == "true" or self.otel_exporter.strip().lower() == "none"
        return bool(self.otlp_endpoint or self.otlp_traces_endpoint) and not switched_off

    @property
    def own_language_model(self) -> bool:
        """Whether prompts are rewritten in this process, and not behind a URL."""
        return self.enhancer_url is None and self.language_model_url is None

    @property
    def status_urls(self) -> tuple[str, ...]:
        """Where the pods that others ask tell of themselves."""
        return tuple(self.status_url.split(",")) if self.status_url else ()

    @property
    def qwen_address(self) -> str:
        """Where a client on this machine reaches the language worker that these settings describe."""
        return _reached(self.qwen_host, self.qwen_port)

    def probe_address(self, port: int) -> str:
        """Where a client on this machine reaches the probes of a process on this port."""
        return _reached(self.probe_host, port)

    @property
    def qwen_place(self) -> str:
        """Host and port that the language worker listens on."""
        return _place(self.qwen_host, self.qwen_port)

    @property
    def qwen_alone(self) -> bool:
        """Whether the pod has the language worker alone, so that only others ask it."""
        return set(self.workers) == {"qwen"}

    def known_token(self) -> str:
        """What whoever asks the language worker must send; raises `ConfigurationError` when nobody could know it."""
        if self.qwen_token is None:
            raise ConfigurationError(f"OURVIDZ_QWEN_TOKEN is not set: {QWEN_CURE}")
        return self.qwen_token.get_secret_value()

    def restart_delay(self, kind: WorkerKind) -> float:
        delays = {"sdxl": self.sdxl_restart_delay, "wan": self.wan_restart_delay, "qwen": self.qwen_restart_delay}
        return delays[kind]


class RegisteringSettings(QwenSettings):
    """Of a language worker that makes itself known to the product."""

    product_url: str = Field(default="", validation_alias="SUPABASE_URL", validate_default=True)
    product_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("SUPABASE_SERVICE_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
        validate_default=True,
    )
    pod_id: str | None = Field(
        default=None, validation_alias="RUNPOD_POD_ID", pattern=r"^[A-Za-z0-9-]+$", validate_default=True
    )

    @field_validator("product_url", "product_key", mode="before")
    @classmethod
    def _strip_product(cls, value: object) -> object:
        return _stripped(value)

    @field_validator("product_url")
    @classmethod
    def _check_product_url(cls, value: str) -> str:
        return _address(value) if value else _missing("SUPABASE_URL")

    @field_validator("product_key")
    @classmethod
    def _check_product_key(cls, value: SecretStr) -> SecretStr:
        return _header_value(value) if value else _missing("SUPABASE_SERVICE_KEY")

    @field_validator("pod_id")
    @classmethod
    def _check_reach(cls, value: str | None, known: ValidationInfo) -> str | None:
        """The last field: by now it is known how the others are set."""
        problems = []
        host, public = str(known.data.get("qwen_host")), known.data.get("public_url", "wrong")
        if public is None and is_loopback(f"http://{_place(host, 0)}"):
            problems.append(_UNREACHED.format(host=host))
        if public is None and value is None:
            problems.append(_NO_PUBLIC_URL)
        if known.data.get("qwen_token", "wrong") is None:
            problems.append(f"OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_REGISTER_FUNCTION is; {QWEN_CURE}")
        if problems:
            raise PydanticCustomError(_WHOLE, "{problems}", {"problems": "\n".join(problems)})
        return value

    @property
    def function(self) -> str:
        assert self.register_function is not None, "whoever names no function registers nowhere"
        return self.register_function

    @property
    def public_address(self) -> tuple[str, str]:
        """Where the product reaches the language worker, and the variable that says so."""
        if self.public_url is not None:
            return self.public_url, "OURVIDZ_PUBLIC_URL"
        return f"https://{self.pod_id}-{self.qwen_port}.proxy.runpod.net", "RUNPOD_POD_ID"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*_values(self.product_key), *super().secrets)


class BackendSettings(QwenSettings):
    """Where jobs come from, where results go and who hears of them: Supabase and Upstash unless a URL says otherwise.

    What nothing uses may be empty.
    """

    queue_url: SecretStr | None = _ours("QUEUE_URL", None)
    store: Annotated[Place | None, NoDecode] = _ours("STORE_URL", None)
    report_url: str | None = _ours("REPORT_URL", None)

    supabase_url: str = Field(default="", validation_alias="SUPABASE_URL")
    supabase_service_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("SUPABASE_SERVICE_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    )
    redis_rest_url: str = Field(default="", validation_alias="UPSTASH_REDIS_REST_URL")
    redis_rest_token: SecretStr = Field(default=SecretStr(""), validation_alias="UPSTASH_REDIS_REST_TOKEN")

    aws_endpoint_url: str | None = Field(
        default=None, validation_alias=AliasChoices("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    )
    aws_region: str = Field(default="us-east-1", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    aws_access_key_id: SecretStr | None = Field(default=None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_session_token: SecretStr | None = Field(default=None, validation_alias="AWS_SESSION_TOKEN")
    aws_role: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ),
    )
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias="AWS_SECRET_ACCESS_KEY")

    @field_validator(
        "queue_url",
        "store",
        "report_url",
        "supabase_url",
        "supabase_service_key",
        "redis_rest_url",
        "redis_rest_token",
        "aws_endpoint_url",
        "aws_access_key_id",
        "aws_session_token",
        "aws_secret_access_key",
        mode="before",
    )
    @classmethod
    def _strip_backend(cls, value: object) -> object:
        return _stripped(value)

    @field_validator("queue_url")
    @classmethod
    def _check_queue_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_address(value.get_secret_value())
        return value

    @field_validator("store", mode="before")
    @classmethod
    def _parse_store(cls, value: object) -> object:
        return parse_place(value) if isinstance(value, str) else value

    @field_validator("report_url")
    @classmethod
    def _check_report_url(cls, value: str | None) -> str | None:
        return value and _safe_address(value)

    @field_validator("supabase_url", "redis_rest_url", "aws_endpoint_url")
    @classmethod
    def _check_backend_address(cls, value: str | None) -> str | None:
        return value and _address(value)

    @field_validator("supabase_service_key", "redis_rest_token")
    @classmethod
    def _check_backend_header(cls, value: SecretStr) -> SecretStr:
        return value and _header_value(value)

    @field_validator("supabase_url", "supabase_service_key")
    @classmethod
    def _need_supabase(cls, value: AnyValue, known: ValidationInfo) -> AnyValue:
        return _needed(value, known, elsewhere=("store", "report_url"))

    @field_validator("redis_rest_url", "redis_rest_token")
    @classmethod
    def _need_upstash(cls, value: AnyValue, known: ValidationInfo) -> AnyValue:
        return _needed(value, known, elsewhere=("queue_url",))

    @field_validator("aws_secret_access_key")
    @classmethod
    def _need_aws_keys(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        """Only where a bucket is used: other programs have such variables, too."""
        key_id = known.data.get("aws_access_key_id")
        if isinstance(known.data.get("store"), S3Bucket):
            if (value is None) != (key_id is None):
                raise PydanticCustomError(_WHOLE, _HALF_AWS)
            if value is None and known.data.get("aws_role") is None:
                raise PydanticCustomError(_WHOLE, _NO_AWS_KEYS)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        ours = _values(
            self.supabase_service_key,
            self.redis_rest_token,
            self.aws_access_key_id,
            self.aws_secret_access_key,
            self.aws_session_token,
        )
        return (*ours, *(passwords(self.queue_url.get_secret_value()) if self.queue_url else ()), *super().secrets)


class Settings(BackendSettings):
    """Every setting of the orchestrator and of a worker that takes jobs; seconds unless a name says otherwise."""

    callback_profile: CallbackProfile = _ours("CALLBACK_PROFILE", "2025-07")
    callback_secret: SecretStr | None = Field(default=None, validation_alias="JOB_CALLBACK_SECRET")
    storage_layout: StorageLayout = _ours("STORAGE_LAYOUT", "current")
    queue_mode: Literal["held", "rpop"] = _ours("QUEUE_MODE", "held")
    pop_end: Literal["right", "left"] = _ours("POP_END", "right")
    longest_wait: float = _ours("LONGEST_WAIT", 120.0, ge=0, le=86_400)

    reference_hosts: Annotated[tuple[str, ...], NoDecode] = _ours("REFERENCE_HOSTS", ())
    reference_fit: Literal["crop", "pad"] = _ours("REFERENCE_FIT", "crop")
    picture_classifier: str | None = _ours("PICTURE_CLASSIFIER", None)

    embed: Annotated[frozenset[Embeddable], NoDecode] = _ours("EMBED", frozenset())
    thumbnails: Literal["on", "off"] = _ours("THUMBNAILS", "on")
    video_encoder: VideoEncoder = _ours("VIDEO_ENCODER", "auto")
    c2pa_certificate: PathOfHome | None = _ours("C2PA_CERTIFICATE", None)
    c2pa_key: PathOfHome | None = _ours("C2PA_KEY", None)
    c2pa_algorithm: SigningAlgorithm = _ours("C2PA_ALGORITHM", "es256")
    c2pa_timestamp_url: str | None = _ours("C2PA_TIMESTAMP_URL", None)

    spool_dir: PathOfHome = _ours("SPOOL", _state_folder("spool"))
    spool_reserve: int = _ours("SPOOL_RESERVE", 1024, ge=0)  # MiB

    lease: int = _ours("LEASE", 90, ge=3)
    reap_interval: float = _ours("REAP_INTERVAL", 300.0, gt=0)
    job_deadline: float = _ours("JOB_DEADLINE", 900.0, gt=0)
    sdxl_poll: float = _ours("SDXL_POLL", 2.0, gt=0)
    wan_poll: float = _ours("WAN_POLL", 5.0, gt=0)
    poll_limit: float = _ours("POLL_LIMIT", 0.0, ge=0, le=3600)
    sdxl_batch: int = _ours("SDXL_BATCH", 1, ge=1, le=24)  # pictures

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
        return value and _address(value)

    @field_validator("c2pa_key")
    @classmethod
    def _check_signing(cls, value: Path | None, known: ValidationInfo) -> Path | None:
        if (value is None) != (known.data.get("c2pa_certificate") is None):
            raise PydanticCustomError(_WHOLE, _HALF_SIGNED)
        return value

    @field_validator("callback_secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        if value is None and known.data.get("callback_profile") == "2026-02":
            raise PydanticCustomError(_WHOLE, _UNSIGNED)
        if value is None and known.data.get("report_url"):
            raise PydanticCustomError(_WHOLE, _UNSIGNED_REPORT)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*_values(self.callback_secret), *super().secrets)

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


PROBE_PORTS = {"orchestrator": 9400, "sdxl": 9401, "wan": 9402, "qwen": 9403}
"""Where each process answers unless OURVIDZ_PROBE_PORT names another port; 0 there means nowhere."""

AnySettings = TypeVar("AnySettings", bound=VolumeSettings)


def qwen_settings() -> type[QwenSettings]:
    """Which settings the language worker needs: one that registers with the product has more of them."""
    return RegisteringSettings if os.environ.get("OURVIDZ_REGISTER_FUNCTION", "").strip() else QwenSettings


def pod_settings() -> type[QwenSettings]:
    """Which settings the workers of the pod need: a pod of the language worker alone has no backend."""
    try:
        alone = RosterSettings().workers == ("qwen",)
    except ValidationError:  # to be told of together with everything else that is wrong
        alone = False
    return QwenSettings if alone else Settings


def load_settings() -> Settings:
    """Read the environment; raises `ConfigurationError` with one sentence per wrong or missing variable."""
    return read_settings(Settings)


def read_settings(kind: type[AnySettings], given: Mapping[str, Any] | None = None) -> AnySettings:
    """As `load_settings`, for a process that needs these; what is `given`, by variable, goes over the environment."""
    try:
        return kind(**(given or {}))
    except ValidationError as error:
        sentences = (_sentence(dict(problem)) for problem in error.errors())
        raise ConfigurationError([line for sentence in sentences for line in sentence.splitlines()]) from None


def _roster_of_file(config_dir: Path | None) -> Roster:
    """Its problems are those of a file, and no word about a variable."""
    try:
        # Whoever reads the other files says that a folder is none.
        files = ConfigFiles(config_dir if config_dir and config_dir.is_dir() else None)
        return parse_roster(files.text("workers.toml"), str(files.path("workers.toml")))
    except ConfigurationError as error:
        raise PydanticCustomError(_WHOLE, "{problems}", {"problems": "\n".join(error.problems)}) from None


def _reached(host: str, port: int) -> str:
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound
    return f"http://{_place(anywhere.get(host, host), port)}"


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _stripped(value: object) -> object:
    """A line end from a secret file would end up in a header."""
    return value.strip() if isinstance(value, str) else value


def _address(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("must begin with https:// (or http://)")
    parts = urlsplit(value)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be the address alone: passwords and tokens have variables of their own")
    return value.rstrip("/")


def _safe_address(value: str) -> str:
    address = _address(value)
    if address.startswith("http://") and not is_loopback(address):
        raise ValueError("must begin with https://, but for this machine itself")
    return address


def _header_value(value: SecretStr) -> SecretStr:
    if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
        raise ValueError("holds a character that no header can carry, like a line break or a curly quote")
    return value


def _needed(value: AnyValue, known: ValidationInfo, *, elsewhere: tuple[str, ...]) -> AnyValue:
    """A variable that may be empty once all of these lead elsewhere; one that is wrong leads elsewhere, too."""
    if not value and not all(known.data.get(name, "wrong") for name in elsewhere):
        name = _VARIABLES[str(known.field_name)]
        raise PydanticCustomError(_WHOLE, "{name} is not set: {cure}", {"name": name, "cure": _CURES[name]})
    return value


def _missing(name: str) -> NoReturn:
    raise PydanticCustomError(_WHOLE, "{name} is not set: {cure}", {"name": name, "cure": _CURES[name]})


def _values(*held: SecretStr | None) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in held if secret)


def _header_secrets(held: SecretStr) -> Iterator[str]:
    """What OpenTelemetry's `name=value,…` holds, as it stands there and as it is sent."""
    text = held.get_secret_value()
    yield text
    for entry in text.split(","):
        value = entry.partition("=")[2].strip()
        for spelling in (value, unquote(value), unquote(value).rpartition(" ")[2]):
            if len(spelling) >= _SHORTEST_SECRET:
                yield spelling


def _sentence(problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == _WHOLE:
        return str(problem["msg"])
    reason = str(problem["msg"]).removeprefix("Value error, ")
    # The product's variables hold secrets and addresses, and so do some of our own.
    told = name.startswith("OURVIDZ_") and name not in _UNREPEATED
    given = f", got {problem['input']!r}" if told else ""
    return f"{name} is wrong: {reason[:1].lower()}{reason[1:]}{given}"
