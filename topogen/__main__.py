"""`python -m topogen`, the same as the command `topogen`."""

import sys

from topogen.cli import main

if __name__ == "__main__":
    sys.exit(main())
