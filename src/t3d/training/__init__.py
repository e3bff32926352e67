"""How a network learns: loop, callbacks, objective, optimizer, loader, validation, run folder."""
