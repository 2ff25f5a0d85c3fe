"""Where `python -m purenet.bench` enters."""

import sys

from purenet.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
