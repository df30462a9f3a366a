"""The command line of `shapca`: one file a command, with a function of its name or an `app`."""
