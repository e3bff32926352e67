"""Published weights: supported layouts, reading, and inflation of 2D weights to 3D."""
