"""The embedded backend: the product's far side on one local port, for development and tests only.

`EmbeddedBackend` serves the HTTP interfaces of Upstash Redis (under `/upstash`) and of Supabase (storage, rows,
sign-in and functions, at the root) so that unmodified `upstash-redis` and `supabase` clients work, and a page
at `/` that shows the jobs. What it answers is contract sections 1, 4, 5 and 6.
"""

from __future__ import annotations

from ourvidz_worker.local.backend import EmbeddedBackend

__all__ = ["EmbeddedBackend"]
