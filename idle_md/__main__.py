"""`python -m idle_md` is the `idle-md` command."""

from idle_md.cli.main import main

if __name__ == "__main__":
    main()
