"""`configs/` is found in the operator's folder, in the installed package and in the repository, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from ourvidz_worker import config_files
from ourvidz_worker.cli.chosen import chosen_files
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.errors import ConfigurationError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder inside a repository that has a `configs/` of its own."""
    package = tmp_path / "repository" / "ourvidz_worker"
    write(package.parent / "configs", {"job_types.toml": "of the repository", "prompts/wan.txt": "shipped wan"})
    package.mkdir()
    monkeypatch.setattr(config_files, "_PACKAGE", package)
    return package


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_shipped_files_are_there() -> None:
    files = ConfigFiles()
    assert len(parse_catalogue(files.text("job_types.toml"))) == 10
    assert files.text("models.toml")
    assert files.texts("prompts")


@pytest.mark.usefixtures("package")
def test_a_checkout_uses_the_repositorys_folder() -> None:
    assert ConfigFiles().text("job_types.toml") == "of the repository"


def test_an_installed_package_uses_its_own_folder(package: Path) -> None:
    """Everything in `configs/` is also found when the package is installed without the repository."""
    write(package / "configs", {"job_types.toml": "of the package"})
    assert ConfigFiles().text("job_types.toml") == "of the package"


@pytest.mark.usefixtures("package")
def test_the_operators_file_goes_over_the_shipped_one(tmp_path: Path) -> None:
    override = write(tmp_path / "mine", {"job_types.toml": "mine"})
    assert ConfigFiles(override).text("job_types.toml") == "mine"


@pytest.mark.usefixtures("package")
def test_commands_without_other_settings_read_the_folder_as_workers_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine", {"job_types.toml": "mine"})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OURVIDZ_CONFIG_DIR", "~/mine")
    assert chosen_files().text("job_types.toml") == "mine"


@pytest.mark.usefixtures("package")
def test_a_file_that_the_operator_left_out_is_the_shipped_one(tmp_path: Path) -> None:
    override = write(tmp_path / "mine", {"models.toml": "mine"})
    assert ConfigFiles(override).text("job_types.toml") == "of the repository"


@pytest.mark.usefixtures("package")
def test_a_subfolder_is_merged_file_by_file(tmp_path: Path) -> None:
    override = write(tmp_path / "mine", {"prompts/wan.txt": "my wan", "prompts/extra.toml": "extra"})
    assert ConfigFiles(override).texts("prompts") == {"wan": "my wan", "extra": "extra"}
    assert ConfigFiles().texts("prompts") == {"wan": "shipped wan"}
    assert ConfigFiles(override).texts("missing") == {}


@pytest.mark.usefixtures("package")
def test_a_missing_file_is_named_with_every_folder_that_was_searched(tmp_path: Path) -> None:
    override = write(tmp_path / "mine", {"x": ""})
    with pytest.raises(ConfigurationError) as caught:
        ConfigFiles(override).path("models.toml")
    message = str(caught.value)
    assert "models.toml is missing in" in message
    assert str(override) in message
    assert str(tmp_path / "repository" / "configs") in message


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_an_override_that_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    """An operator's spelling mistake must not silently mean the shipped files."""
    override = tmp_path / "mine"
    if kind == "file":
        override.write_text("")
    with pytest.raises(ConfigurationError, match=r"OURVIDZ_CONFIG_DIR is '.*mine', which is not a folder"):
        ConfigFiles(override)


@pytest.mark.usefixtures("package")
def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    override = write(tmp_path / "mine", {"models.toml": "", "prompts/wan.txt": ""})
    for name in ("models.toml", "prompts/wan.txt"):
        (override / name).write_bytes("caf\u00e9".encode("latin-1"))
    for read in (lambda: ConfigFiles(override).text("models.toml"), lambda: ConfigFiles(override).texts("prompts")):
        with pytest.raises(ConfigurationError, match=r"mine/\S+ is not UTF-8 at byte 3; save it as UTF-8"):
            read()
