"""The doors: they build the objects and start them. Nothing else imports adapters."""
