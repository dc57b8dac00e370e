"""What a test needs of the machine besides Python.

Where it is missing, the test is skipped with the reason printed; where ``EVERFOLD_REQUIRE`` (names separated by commas)
lists it, the test fails instead, so that a complete machine cannot skip it unseen.
"""

from __future__ import annotations

import os

import pytest

REQUIRE = "EVERFOLD_REQUIRE"


def require(name: str, *, present: bool, missing: str) -> None:
    """Go on if the thing called ``name`` is ``present``; otherwise skip, or fail where it is required.

    ``missing`` says what was looked for.
    """
    if present:
        return
    reason = f"{name}: {missing}"
    if name in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(f"{reason}, and {REQUIRE} lists it", pytrace=False)
    pytest.skip(reason)
