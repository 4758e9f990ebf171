"""Runs a measurement as a process of its own, on one thread, and reads what it prints."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def run(program: str, **arguments: Any) -> dict[str, Any]:
    """The JSON object that a program beside this file prints as its last line.

    Arguments reach it as one JSON object. Raises RuntimeError with the end of what it printed.
    """
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    as_in_the_image = {
        "MALLOC_TRIM_THRESHOLD_": "268435456",
        "MALLOC_MMAP_THRESHOLD_": "33554432",
    }
    done = subprocess.run(
        [sys.executable, str(HERE / program), json.dumps(arguments)],
        env=os.environ | one_thread | as_in_the_image,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program} {arguments} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_all(program: str, settings: list[dict[str, Any]], jobs: int) -> list[dict[str, Any]]:
    """`run` for each of the settings, at most `jobs` at once, in their order."""
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda one: run(program, **one), settings))
