"""What the product's functions do to prompts: SDXL's negative prompt, and an expansion without a model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ourvidz_worker.contract.catalogue import JobType

CLIP_TOKENS = 75  # 77 positions less the start and end marks

QUALITY = ["worst quality", "low quality", "normal quality", "lowres"]
BODY = ["bad anatomy", "extra limbs", "deformed", "missing limbs"]
DETAIL = ["deformed hands", "extra fingers", "deformed face", "malformed"]
HANDS = ["bad hands", "bad fingers", "missing fingers", "distorted features"]
ARTEFACTS = ["text", "watermark", "logo", "signature"]
STYLE = ["anime", "cartoon", "graphic"]
SAFETY = ["child", "minor"]
ALWAYS = [*BODY, *QUALITY, *DETAIL, *HANDS, *ARTEFACTS, *STYLE, *SAFETY]
FOR_GROUPS = ["extra people", "merged bodies", "cloned face"]
GROUP = re.compile(r"\b(people|couple|crowd|men|women|boys|girls|friends|sisters|brothers|both of them)\b")

STYLES = {
    "image": "sharp focus, natural light, balanced composition, fine detail",
    "video": "smooth continuous motion, steady camera, natural light, consistent subject",
}


def negative_prompt(prompt: str) -> str:
    """SDXL's negative prompt: quality, anatomy and artefact terms; more when a scene has several people.

    Stays within CLIP's 77 tokens (contract section 6), counted as words and commas.
    """
    groups = FOR_GROUPS if GROUP.search(prompt.lower()) else []
    return ", ".join(_within([*ALWAYS, *groups], CLIP_TOKENS))


def expand(prompt: str, job_type: JobType) -> str:
    """A plain expansion by template, for when no model is at hand."""
    return f"{prompt.rstrip(' .,')}, {STYLES[job_type.media]}"


def _within(terms: Iterable[str], tokens: int) -> list[str]:
    kept: list[str] = []
    for term in terms:
        tokens -= len(term.split()) + 1
        if tokens < 0:
            break
        kept.append(term)
    return kept
