"""The queue over Upstash REST: claims under a lease, what is held, and what was put aside."""
