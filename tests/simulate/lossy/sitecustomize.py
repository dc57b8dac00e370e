"""On the import path of a service that is to lose calls: in processes that start while a file is there, Ray loses what
the file says.

Ray reads it from the environment, once, when a process begins. Set for a whole service from its start, Serve's own
control would lose calls too, and does not always survive that.
"""

import contextlib
import os

with contextlib.suppress(KeyError, OSError), open(os.environ["LOSES_CALLS_WHILE"]) as said:
    os.environ["RAY_testing_rpc_failure"] = said.read()  # noqa: SIM112 - its name is Ray's
