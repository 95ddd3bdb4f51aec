"""Adapters that generate: SDXL, WAN and Qwen, small trained ones and tiny stand-ins, the test card, media encoding."""
