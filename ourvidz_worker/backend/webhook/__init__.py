"""Reports to any receiver, signed."""
