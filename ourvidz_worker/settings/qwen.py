"""What every process reads, and what the language worker needs."""

from __future__ import annotations

import os
from typing import Literal, LiteralString

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ourvidz_worker.backend.loopback import is_loopback
from ourvidz_worker.control import WorkerKind
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings.roster import RosterSettings
from ourvidz_worker.settings.values import (
    WHOLE_SENTENCE,
    PathOfHome,
    address_alone,
    header_secrets,
    header_value,
    missing,
    ours,
    place,
    reached,
    safe_address,
    state_folder,
    stripped,
    values_of,
)

ModelSelection = Literal["real", "tiny", "testcard", "demo"]

PROBE_PORTS = {"orchestrator": 9400, "sdxl": 9401, "wan": 9402, "qwen": 9403}
"""Where each process answers unless OURVIDZ_PROBE_PORT names another port; 0 there means nowhere."""

QWEN_CURE = "set it to a long random text, like `openssl rand -hex 32` prints; whoever asks this worker must send it"
_UNKNOWN_CALLER: LiteralString = (
    "OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_ENHANCER_URL names a qwen worker, which wants the token that it was given"
)
_UNREACHED = (
    "OURVIDZ_QWEN_HOST is {host}, where only this machine reaches the language worker that OURVIDZ_REGISTER_FUNCTION "
    "makes known to the product: set OURVIDZ_QWEN_HOST to 0.0.0.0, or leave OURVIDZ_REGISTER_FUNCTION away"
)
_NO_PUBLIC_URL = (
    "OURVIDZ_PUBLIC_URL is not set, and neither is RUNPOD_POD_ID: OURVIDZ_REGISTER_FUNCTION makes the language worker "
    "known to the product; set OURVIDZ_PUBLIC_URL to the https address at which it is reached from outside"
)


class QwenSettings(RosterSettings):
    """What every process reads, and all that the language worker needs; seconds unless a name says otherwise."""

    models: ModelSelection = ours("MODELS", "real")
    cache_dir: PathOfHome = ours("CACHE", state_folder("models"))

    enhancer_url: str | None = ours("ENHANCER_URL", None)
    qwen_host: str = ours("QWEN_HOST", "127.0.0.1")
    qwen_port: int = ours("QWEN_PORT", 8791, ge=1, le=65535)
    qwen_token: SecretStr | None = ours("QWEN_TOKEN", None)
    qwen_queue: int = ours("QWEN_QUEUE", 8, ge=0)  # requests
    register_function: str | None = ours("REGISTER_FUNCTION", None, pattern=r"^[A-Za-z0-9_-]+$")
    public_url: str | None = ours("PUBLIC_URL", None)
    language_model_url: str | None = ours("LANGUAGE_MODEL_URL", None)
    language_model_key: SecretStr | None = ours("LANGUAGE_MODEL_KEY", None)
    language_model_name: str | None = ours("LANGUAGE_MODEL_NAME", None)
    enhancement_limit: float = ours("ENHANCEMENT_LIMIT", 60.0, gt=0)

    grace_period: float = ours("GRACE_PERIOD", 30.0, ge=0)
    sdxl_restart_delay: float = ours("SDXL_RESTART_DELAY", 10.0, gt=0)
    wan_restart_delay: float = ours("WAN_RESTART_DELAY", 15.0, gt=0)
    qwen_restart_delay: float = ours("QWEN_RESTART_DELAY", 10.0, gt=0)
    restart_limit: int = ours("RESTART_LIMIT", 5, ge=1)
    healthy_after: float = ours("HEALTHY_AFTER", 60.0, ge=0)
    silence_limit: float = ours("SILENCE_LIMIT", 120.0, gt=0)
    step_limit: float = ours("STEP_LIMIT", 300.0, gt=0)
    load_limit: float = ours("LOAD_LIMIT", 1800.0, gt=0)
    status_interval: float = ours("STATUS_INTERVAL", 60.0, gt=0)
    status_file: PathOfHome | None = ours("STATUS_FILE", None)

    status_url: str = ours("STATUS_URL", "http://127.0.0.1:9400")
    probe_host: str = ours("PROBE_HOST", "127.0.0.1")
    probe_port: int | None = ours("PROBE_PORT", None, ge=0, le=65535)
    previews: Literal["on", "off"] = ours("PREVIEWS", "off")

    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otlp_headers: SecretStr | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_HEADERS")
    otlp_traces_headers: SecretStr | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    otel_disabled: str = Field(default="false", validation_alias="OTEL_SDK_DISABLED")
    otel_exporter: str = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")

    log_level: Literal["debug", "info", "warning", "error"] = ours("LOG_LEVEL", "info")
    log_format: Literal["auto", "json", "console"] = ours("LOG_FORMAT", "auto")

    @field_validator("qwen_token", "language_model_key", "enhancer_url", "language_model_url", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        """Blanks alone set nothing, least of all a token that everybody has."""
        return stripped(value) or None

    @field_validator("status_url")
    @classmethod
    def _check_pods(cls, value: str) -> str:
        return ",".join(address_alone(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        return value and safe_address(value)

    @field_validator("qwen_host", mode="before")
    @classmethod
    def _bare_host(cls, value: object) -> object:
        """An IPv6 address also as URLs have it, in brackets."""
        return value.strip().removeprefix("[").removesuffix("]") if isinstance(value, str) else value

    @field_validator("enhancer_url", "language_model_url", "otlp_endpoint", "otlp_traces_endpoint")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        return value and address_alone(value)

    @field_validator("qwen_token", "language_model_key")
    @classmethod
    def _check_header(cls, value: SecretStr | None) -> SecretStr | None:
        return value and header_value(value)

    @field_validator("qwen_token")
    @classmethod
    def _check_token(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        if value is None and known.data.get("enhancer_url"):
            raise PydanticCustomError(WHOLE_SENTENCE, _UNKNOWN_CALLER)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value, so that logging can strike them out."""
        headers = (
            part for held in (self.otlp_headers, self.otlp_traces_headers) if held for part in header_secrets(held)
        )
        return (*values_of(self.qwen_token, self.language_model_key), *headers)

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
        return reached(self.qwen_host, self.qwen_port)

    def probe_address(self, port: int) -> str:
        """Where a client on this machine reaches the probes of a process on this port."""
        return reached(self.probe_host, port)

    @property
    def qwen_place(self) -> str:
        """Host and port that the language worker listens on."""
        return place(self.qwen_host, self.qwen_port)

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
        return stripped(value)

    @field_validator("product_url")
    @classmethod
    def _check_product_url(cls, value: str) -> str:
        return address_alone(value) if value else missing("SUPABASE_URL")

    @field_validator("product_key")
    @classmethod
    def _check_product_key(cls, value: SecretStr) -> SecretStr:
        return header_value(value) if value else missing("SUPABASE_SERVICE_KEY")

    @field_validator("pod_id")
    @classmethod
    def _check_reach(cls, value: str | None, known: ValidationInfo) -> str | None:
        """The last field: by now it is known how the others are set."""
        problems = []
        host, public = str(known.data.get("qwen_host")), known.data.get("public_url", "wrong")
        if public is None and is_loopback(f"http://{place(host, 0)}"):
            problems.append(_UNREACHED.format(host=host))
        if public is None and value is None:
            problems.append(_NO_PUBLIC_URL)
        if known.data.get("qwen_token", "wrong") is None:
            problems.append(f"OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_REGISTER_FUNCTION is; {QWEN_CURE}")
        if problems:
            raise PydanticCustomError(WHOLE_SENTENCE, "{problems}", {"problems": "\n".join(problems)})
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
        return (*values_of(self.product_key), *super().secrets)


def qwen_settings() -> type[QwenSettings]:
    """Which settings the language worker needs: one that registers with the product has more of them."""
    return RegisteringSettings if os.environ.get("OURVIDZ_REGISTER_FUNCTION", "").strip() else QwenSettings
