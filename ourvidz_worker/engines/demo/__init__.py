"""Small trained models of the product's architectures that ship with the package: they draw what a prompt says.

Their world is small (`scripts/demo_models/scenes.py`), and there are no people in it. They run through the very code of
the real ones, loaders included; that folder also trains them.
"""
