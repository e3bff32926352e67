"""Networks as files of other engines: written, checked against PyTorch, read, and scored with."""
