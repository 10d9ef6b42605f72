"""`python -m watchkey` is the program `watchkey`."""

from watchkey.entrypoints.cli.main import main

if __name__ == "__main__":
    main()
