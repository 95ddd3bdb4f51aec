"""The adults-only gate: which prompts are refused before a model sees them."""

from __future__ import annotations

from ourvidz_worker.runtime.policy.content_policy import ContentPolicy

__all__ = ["ContentPolicy"]
