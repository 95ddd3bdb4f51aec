"""The adults-only gate: which prompts, and with an operator's classifier which pictures, are refused."""

from __future__ import annotations

from ourvidz_worker.runtime.policy.classified_policy import ClassifiedPolicy
from ourvidz_worker.runtime.policy.text_policy import TextPolicy

__all__ = ["ClassifiedPolicy", "TextPolicy"]
