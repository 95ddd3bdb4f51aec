"""What leaves as JSON leaves without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ourvidz_worker.log import STRUCK_OUT


def struck_out_of_json(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(json.dumps(secret)[1:-1], STRUCK_OUT)
    return text
