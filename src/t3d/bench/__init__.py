"""Time and memory of engines, precisions and training settings on the user's machine."""
