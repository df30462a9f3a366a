"""The command line of `orchestrator`: one file a command, a function of the command's name."""
