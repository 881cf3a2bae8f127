"""`python -m topogen`, the same as the command `topogen`."""

import sys

from topogen.command.main import main

if __name__ == "__main__":
    sys.exit(main())
