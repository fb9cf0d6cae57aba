"""``python -m point2mask`` is the command ``point2mask``."""

import sys

from point2mask.cli import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
