"""`python -m corom` is `corom`."""

import sys

from corom.cli import main

if __name__ == "__main__":
    sys.exit(main())
