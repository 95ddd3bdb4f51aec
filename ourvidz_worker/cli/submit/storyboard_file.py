"""`storyboard.json`: what the qwen worker's `/storyboard` answered, or scenes that a person wrote."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ourvidz_worker.cli.submit.orders import NotOrdered, Order
from ourvidz_worker.contract.catalogue import Catalogue, JobType
from ourvidz_worker.contract.fields import MAX_PROSE_CHARACTERS
from ourvidz_worker.contract.payload_error import shown
from ourvidz_worker.contract.strict_json import decode, flaws
from ourvidz_worker.runtime.language.director import longest_clip
from ourvidz_worker.runtime.language.storyboard import MAX_NOTE, MAX_TITLE, Scene

DEFAULT_TYPE = "video_fast"
MOST_SCENES = 100
_TEXTS = {"title": MAX_TITLE, "prompt": MAX_PROSE_CHARACTERS, "camera": MAX_NOTE, "continuity": MAX_NOTE}
_KEYS = (*_TEXTS, "duration", "job_type")
_SEED_LIMIT = 2**31

Problems = Iterator[str]


def read_storyboard(file: Path, catalogue: Catalogue, *, seed: int | None) -> list[Order]:
    """An order for each scene; `seed` replaces those of the file, and without any all share a drawn one.

    A file holds `jobs`, or `scenes`, or is a list of scenes. Raises `NotOrdered` with a sentence per problem.
    """
    document = _document(file)
    board = document if isinstance(document, dict) else {"scenes": document}
    if problems := list(_problems(board, catalogue)):
        raise NotOrdered([f"{file}: {problem}" for problem in problems])
    jobs = board["jobs"] if "jobs" in board else _jobs(board, catalogue)
    replaced = {} if seed is None else {"seed": seed}
    return [
        Order(job["jobType"], {**job["metadata"], **replaced}, _label(number, job["metadata"]))
        for number, job in enumerate(jobs, 1)
    ]


def _document(file: Path) -> Any:
    try:
        document = decode(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NotOrdered([f"{file} cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise NotOrdered([f"{file} is not UTF-8 text"]) from error
    except ValueError as error:
        raise NotOrdered([f"{file} {error}"]) from error
    if found := [f"{file}: {path or 'it'} {problem}" for path, problem in flaws(document)]:
        raise NotOrdered(found)
    return document


def _jobs(board: Mapping[str, Any], catalogue: Catalogue) -> list[dict[str, Any]]:
    """The bodies that `/storyboard` would have answered for these scenes."""
    drawn, count = secrets.randbelow(_SEED_LIMIT), len(board["scenes"])
    jobs = []
    for number, scene in enumerate(board["scenes"], 1):
        job_type = catalogue[_type_of(scene, board)]
        jobs.append(_scene(scene, job_type).job(job_type, seed=drawn, number=number, count=count))
    return jobs


def _scene(fields: Mapping[str, Any], job_type: JobType) -> Scene:
    texts = {key: " ".join(fields.get(key, "").split()) for key in _TEXTS}
    return Scene(**texts, duration=fields.get("duration", longest_clip(job_type)))


def _type_of(scene: Mapping[str, Any], board: Mapping[str, Any]) -> Any:
    return scene.get("job_type", board.get("job_type", DEFAULT_TYPE))


def _label(number: int, metadata: Mapping[str, Any]) -> str:
    title = metadata.get("title")
    return f"scene {number}" + (f" ({title})" if isinstance(title, str) and title else "")


def _problems(board: Mapping[str, Any], catalogue: Catalogue) -> Problems:
    lists = {key: board[key] for key in ("scenes", "jobs") if key in board}
    if not lists and isinstance(board.get("error"), str):
        yield f"it holds no scenes, but the answer {board['error'][:300]!r}"
    elif not lists:
        yield "it must be a list of scenes, or an object with scenes or jobs"
    for key, entries in lists.items():
        if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_SCENES:
            yield f"{key} must be a list of 1 to {MOST_SCENES}, got {shown(entries)}"
            return
        for number, entry in enumerate(entries, 1):
            found = _scene_problems(entry, board, catalogue) if key == "scenes" else _job_problems(entry, catalogue)
            yield from (f"{key.removesuffix('s')} {number} {problem}" for problem in found)
    if len(lists) == 2:
        yield from _contradictions(lists["scenes"], lists["jobs"], catalogue)


def _scene_problems(scene: Any, board: Mapping[str, Any], catalogue: Catalogue) -> Problems:
    if not isinstance(scene, dict):
        yield f"must be an object with a prompt, got {shown(scene)}"
        return
    for key in scene:
        if key not in _KEYS:
            yield f"has an unknown key {shown(key)}; known are {', '.join(_KEYS)}"
    for key, longest in _TEXTS.items():
        yield from _text_problems(scene, key, longest)
    name = _type_of(scene, board)
    if not _is_known(name, catalogue):
        yield _wrong_type("job_type", name, catalogue)
    elif "duration" in scene:
        yield from _duration_problems(scene["duration"], longest_clip(catalogue[name]))


def _duration_problems(duration: Any, longest: float) -> Problems:
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 < duration <= longest:
        yield f"has a duration of {shown(duration)}; it must be above 0 and at most {longest:g} seconds"


def _job_problems(job: Any, catalogue: Catalogue) -> Problems:
    if not isinstance(job, dict) or set(job) != {"jobType", "metadata"} or not isinstance(job["metadata"], dict):
        yield f"must be an object with jobType and an object metadata, got {shown(job)}"
        return
    if not _is_known(job["jobType"], catalogue):
        yield _wrong_type("jobType", job["jobType"], catalogue)
    yield from _text_problems(job["metadata"], "prompt", MAX_PROSE_CHARACTERS)


def _text_problems(fields: Mapping[str, Any], key: str, longest: int) -> Problems:
    text = fields.get(key, "")
    if not isinstance(text, str):
        yield f"has a {key} that is no text: {shown(text)}"
    elif len(text) > longest:
        yield f"has a {key} of {len(text)} characters; at most {longest} are allowed"
    elif key == "prompt" and not text.strip():
        yield "has no prompt"


def _contradictions(scenes: list[Any], jobs: list[Any], catalogue: Catalogue) -> Problems:
    """What a person changed in the scenes, and not in the jobs made of them, would have no effect."""
    if len(scenes) != len(jobs):
        yield f"it has {len(scenes)} scenes and {len(jobs)} jobs; edit both, or leave the jobs out"
        return
    for number, (scene, job) in enumerate(zip(scenes, jobs, strict=True), 1):
        try:
            as_told = _scene(scene, catalogue[job["jobType"]])
            same_prompt = as_told.whole_prompt == job["metadata"]["prompt"]
            same_duration = as_told.duration == job["metadata"].get("duration", as_told.duration)
        except (AttributeError, KeyError, TypeError):
            continue  # told already
        for word, same in (("prompts", same_prompt), ("durations", same_duration)):
            if not same:
                yield f"scene {number} and job {number} have different {word}; edit both, or leave the jobs out"


def _is_known(name: Any, catalogue: Catalogue) -> bool:
    """A scene is a clip."""
    return isinstance(name, str) and name in catalogue and catalogue[name].media == "video"


def _wrong_type(key: str, name: Any, catalogue: Catalogue) -> str:
    videos = [known for known in catalogue if catalogue[known].media == "video"]
    return f"has the {key} {shown(name)}; it must be one of {', '.join(videos)}"
