"""The command line of `orchestrator`, one file a command."""
