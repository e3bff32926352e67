"""Supervision transfer from a frozen 2D network to a 3D one, without labels (the paper's section 3.2)."""
