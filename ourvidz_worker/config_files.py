"""Finding `configs/`: a folder the operator names, the package's own copy, or the repository's."""

from __future__ import annotations

from pathlib import Path

from ourvidz_worker.errors import ConfigurationError

_PACKAGE = Path(__file__).parent


class ConfigFiles:
    """The texts of one `configs/` folder; a file missing in the operator's folder comes from the shipped one."""

    def __init__(self, override: Path | None = None) -> None:
        """Raises `ConfigurationError` when `override` is not a folder."""
        if override is not None and not override.is_dir():
            raise ConfigurationError(f"OURVIDZ_CONFIG_DIR is {str(override)!r}, which is not a folder")
        self._folders = ([override] if override else []) + [_shipped()]

    def path(self, name: str) -> Path:
        """Where a file lies; raises `ConfigurationError` when no folder has it."""
        for folder in self._folders:
            if (folder / name).is_file():
                return folder / name
        looked_at = ", ".join(str(folder) for folder in self._folders)
        raise ConfigurationError(f"the configuration file {name} is missing in {looked_at}")

    def text(self, name: str) -> str:
        """What a file says; raises `ConfigurationError` also when it cannot be read."""
        return _text(self.path(name))

    def texts(self, folder: str) -> dict[str, str]:
        """All files of a subfolder by name, without their endings; the operator's files go over the shipped ones."""
        found: dict[str, str] = {}
        for root in reversed(self._folders):
            for file in sorted((root / folder).glob("*.*")):
                found[file.stem] = _text(file)
        return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def _shipped() -> Path:
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"
