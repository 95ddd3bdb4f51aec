"""SDXL: images, steered by references and long prompts."""
