"""The command line: parses, calls, prints; one file per command."""
