"""Training: loop, callbacks, objective, optimizer, loader, validation, run folder."""
