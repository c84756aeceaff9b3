import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.chaos
@pytest.mark.timeout(500)
def test_erased_means_erased_down_to_the_files() -> None:
    """The benchmark at the size CI affords: answers, pages, tables, files, kills at every step, a backup put back."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.erasure", "--small"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    assert run.stdout.splitlines()[-1].startswith("PASS planted")
