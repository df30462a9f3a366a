"""The command line of `shapca`, one file a command."""
