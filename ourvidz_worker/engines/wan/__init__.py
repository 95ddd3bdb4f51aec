"""WAN 2.1: clips and stills, steered by references through VACE."""
