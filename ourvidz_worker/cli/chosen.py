"""The configuration folder of the environment, and the catalogue in it, for commands that draw nothing."""

from __future__ import annotations

from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
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
