"""The command line: `study`, `plan`, `doctor`, `report`, `export`."""
