"""The configuration folder of the environment, for commands that need no other setting."""

from __future__ import annotations

import os
from pathlib import Path

from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from ourvidz_worker.errors import ConfigurationError


def chosen_files() -> ConfigFiles:
    """Raises `ConfigurationError`."""
    chosen = os.environ.get("OURVIDZ_CONFIG_DIR")
    return ConfigFiles(Path(chosen) if chosen else None)


def chosen_catalogue() -> Catalogue:
    """Raises `ConfigurationError`."""
    try:
        return parse_catalogue(chosen_files().text("job_types.toml"))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
