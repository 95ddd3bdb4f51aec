"""Which queue, store and receiver of reports a process works with."""

from __future__ import annotations

from typing import Annotated, LiteralString

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from ourvidz_worker.backend.objects.places import Place, S3Bucket, parse_place
from ourvidz_worker.backend.redis.address import check_address, passwords
from ourvidz_worker.settings.qwen import QwenSettings
from ourvidz_worker.settings.values import (
    WHOLE_SENTENCE,
    AnyValue,
    address_alone,
    header_value,
    needed,
    ours,
    safe_address,
    stripped,
    values_of,
)

_NO_AWS_KEYS: LiteralString = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: OURVIDZ_STORE_URL names an S3 bucket; set both, or run "
    "under a role (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_FULL_URI)"
)
_HALF_AWS: LiteralString = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together, and one of them is not set: set both"
)


class BackendSettings(QwenSettings):
    """Where jobs come from, where results go and who hears of them: Supabase and Upstash unless a URL says otherwise.

    What nothing uses may be empty.
    """

    queue_url: SecretStr | None = ours("QUEUE_URL", None)
    store: Annotated[Place | None, NoDecode] = ours("STORE_URL", None)
    report_url: str | None = ours("REPORT_URL", None)

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
        return stripped(value)

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
        return value and safe_address(value)

    @field_validator("supabase_url", "redis_rest_url", "aws_endpoint_url")
    @classmethod
    def _check_backend_address(cls, value: str | None) -> str | None:
        return value and address_alone(value)

    @field_validator("supabase_service_key", "redis_rest_token")
    @classmethod
    def _check_backend_header(cls, value: SecretStr) -> SecretStr:
        return value and header_value(value)

    @field_validator("supabase_url", "supabase_service_key")
    @classmethod
    def _need_supabase(cls, value: AnyValue, known: ValidationInfo) -> AnyValue:
        return needed(value, known, elsewhere=("store", "report_url"))

    @field_validator("redis_rest_url", "redis_rest_token")
    @classmethod
    def _need_upstash(cls, value: AnyValue, known: ValidationInfo) -> AnyValue:
        return needed(value, known, elsewhere=("queue_url",))

    @field_validator("aws_secret_access_key")
    @classmethod
    def _need_aws_keys(cls, value: SecretStr | None, known: ValidationInfo) -> SecretStr | None:
        """Only where a bucket is used: other programs have such variables, too."""
        key_id = known.data.get("aws_access_key_id")
        if isinstance(known.data.get("store"), S3Bucket):
            if (value is None) != (key_id is None):
                raise PydanticCustomError(WHOLE_SENTENCE, _HALF_AWS)
            if value is None and known.data.get("aws_role") is None:
                raise PydanticCustomError(WHOLE_SENTENCE, _NO_AWS_KEYS)
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        ours = values_of(
            self.supabase_service_key,
            self.redis_rest_token,
            self.aws_access_key_id,
            self.aws_secret_access_key,
            self.aws_session_token,
        )
        return (*ours, *(passwords(self.queue_url.get_secret_value()) if self.queue_url else ()), *super().secrets)
