"""`python -m launcher`: what the ./skerry script runs."""

import sys

from launcher import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
