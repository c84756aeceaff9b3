import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.chaos
@pytest.mark.timeout(400)
def test_nothing_is_lost_while_the_model_fails_and_workers_are_killed() -> None:
    """The benchmark at the size CI affords; how fast it goes is told, not promised, there."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.extraction", "--small"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    assert run.stdout.splitlines()[-1].startswith("PASS 60 windows")
