"""The command line: `s2a`."""
