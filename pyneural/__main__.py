"""`python -m pyneural` is the `pyneural` command."""

import sys

from pyneural.cli import main

sys.exit(main())
