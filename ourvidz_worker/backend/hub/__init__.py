"""The hub that public weights are downloaded from."""
