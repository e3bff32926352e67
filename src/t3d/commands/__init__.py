"""One verb a file: `run(config)` does it, `show(result, config)` prints it and gives the exit code."""
