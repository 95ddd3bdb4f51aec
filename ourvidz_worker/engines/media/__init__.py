"""Frames become files: PNG, MP4, thumbnails, and the marks that say a model made them."""
