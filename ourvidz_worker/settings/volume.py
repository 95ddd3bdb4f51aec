"""Where weights and configuration files lie, and where weights come from."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ourvidz_worker.settings.values import PathOfHome, address_alone, header_value, ours, stripped, values_of


class VolumeSettings(BaseSettings):
    """Where weights and configuration files lie."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    models_dir: PathOfHome = ours("MODELS_DIR", Path("/workspace/models"))
    config_dir: PathOfHome | None = ours("CONFIG_DIR", None)


class HubSettings(VolumeSettings):
    """All that the `models` commands need; the names of the variables are the hub's own."""

    hub_url: str = Field(default="https://huggingface.co", validation_alias="HF_ENDPOINT")
    hub_token: SecretStr | None = Field(default=None, validation_alias="HF_TOKEN")

    @field_validator("hub_url", "hub_token", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        return stripped(value)

    @field_validator("hub_url")
    @classmethod
    def _check_address(cls, value: str) -> str:
        return address_alone(value)

    @field_validator("hub_token")
    @classmethod
    def _check_header(cls, value: SecretStr | None) -> SecretStr | None:
        return value and header_value(value)

    @property
    def secrets(self) -> tuple[str, ...]:
        return values_of(self.hub_token)
