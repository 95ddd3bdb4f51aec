"""Redis over its own protocol."""
