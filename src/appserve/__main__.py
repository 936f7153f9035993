"""`python -m appserve` is the `appserve` command."""

from appserve.cli.main import main

if __name__ == "__main__":
    main()
