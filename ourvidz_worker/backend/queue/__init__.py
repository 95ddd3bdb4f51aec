"""The queue in Redis, whoever carries its commands: claims under a lease, what is held, and what was put aside."""
