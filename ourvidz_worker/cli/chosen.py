"""The configuration folder of the environment, its catalogue and its models, for commands that draw nothing."""

from __future__ import annotations

from dataclasses import replace

from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part, parse_models
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import VolumeSettings, read_settings


def chosen_files() -> ConfigFiles:
    """Raises `ConfigurationError`."""
    return ConfigFiles(read_settings(VolumeSettings).config_dir)


def chosen_catalogue() -> Catalogue:
    """Raises `ConfigurationError`."""
    return read_catalogue(chosen_files())


def read_catalogue(files: ConfigFiles) -> Catalogue:
    """Alone, because the rest of the configuration takes half a second to read. Raises `ConfigurationError`."""
    try:
        return parse_catalogue(files.text("job_types.toml"))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def read_models(files: ConfigFiles) -> ModelsConfig:
    """Where `models.toml` names no configuration for weights that bring none, the shipped one stands in.

    What ships of the demo models is always what the shipped file lists: an operator's own may be of another version,
    or say nothing of them. Raises `ConfigurationError`.
    """
    shipped: dict[Part, str] = {
        "sdxl": str(files.path("sdxl/model_index.json").parent),
        "wan": str(files.path("wan/transformer/config.json").parents[1]),
    }
    models = parse_models(files.text("models.toml"), configs=shipped)
    package = parse_models(ConfigFiles().text("models.toml")).demo
    demo = replace(models.demo, files=package.files) if models.demo and package else package
    return replace(models, demo=demo)
