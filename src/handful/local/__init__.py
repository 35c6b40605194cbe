"""Running a model in this process: from its name to a `Backend`."""
