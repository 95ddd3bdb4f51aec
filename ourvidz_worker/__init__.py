"""A GPU worker daemon for generation products built on Supabase and Upstash Redis."""

__version__ = "0.1.0"
