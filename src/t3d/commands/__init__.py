"""One command per file: `run(config)` runs it, `show(result, config)` prints the result and returns the exit code."""
