"""The tests.

A run starts many processes. Without files of bytecode, each would compile the portal and the tests again, which takes
longer than most tests: they are written even where PYTHONDONTWRITEBYTECODE is set, as in many containers.
"""

import os
import sys

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
