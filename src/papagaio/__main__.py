"""`python -m papagaio`: the command line, where its script is not on the path."""

from papagaio.cli.main import main

# A worker process imports this module under another name.
if __name__ == "__main__":
    main()
