"""`python -m onelook` is the same as `onelook`."""

import sys

from onelook.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
