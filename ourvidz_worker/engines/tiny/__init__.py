"""Tiny, randomly initialised models of the product's architectures, for machines without weights or GPU.

They run through the very code of the real ones, loaders included. What they draw is noise with a purpose: right
size, right count, the same for the same seed. WAN's weights are set by hand where references must show.
"""
