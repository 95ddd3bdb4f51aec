"""Redis over Upstash's REST interface."""
