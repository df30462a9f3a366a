"""`python -m shapca` is the command line."""

from shapca.cli import main

if __name__ == "__main__":
    main()
