from __future__ import annotations

import subprocess
import sys


def test_the_live_page_imports_neither_dagster_nor_pandas() -> None:
    program = (
        "import sys, peebot_live.server; print(sorted({'dagster', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
