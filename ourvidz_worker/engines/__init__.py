"""Adapters that generate: SDXL, WAN and Qwen, their tiny stand-ins, the test card, and media encoding."""
