"""The workers of a pod."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.control import WorkerKind
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings.values import WHOLE_SENTENCE, ours
from ourvidz_worker.settings.volume import VolumeSettings
from ourvidz_worker.supervisor.roster import Roster, parse_roster, roster_of


class RosterSettings(VolumeSettings):
    """The workers of a pod: those of OURVIDZ_WORKERS, and where that is not set, those of `workers.toml`."""

    roster: Annotated[Roster, NoDecode] = ours("WORKERS", None, validate_default=True)

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


def _roster_of_file(config_dir: Path | None) -> Roster:
    """Its problems are those of a file, and no word about a variable."""
    try:
        # Whoever reads the other files says that a folder is none.
        files = ConfigFiles(config_dir if config_dir and config_dir.is_dir() else None)
        return parse_roster(files.text("workers.toml"), str(files.path("workers.toml")))
    except ConfigurationError as error:
        raise PydanticCustomError(WHOLE_SENTENCE, "{problems}", {"problems": "\n".join(error.problems)}) from None
