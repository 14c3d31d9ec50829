"""The Python environment of the golden scripts: made on first use, versions pinned in requirements.txt.

A script calls `enter()` before it imports torch; `enter` restarts the script inside the environment. It needs about
6 GB of disk (the index serves the CUDA build of torch) and is never part of `make test`.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"


def location() -> Path:
    """`$NIGHTGRAFT_GOLDEN_VENV`, or a folder in the user's cache."""
    chosen = os.environ.get("NIGHTGRAFT_GOLDEN_VENV")
    if chosen:
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "nightgraft" / "golden-venv"


def enter() -> None:
    """Continue in the pinned environment, making or repairing it first."""
    folder = location()
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        print(f"installing {REQUIREMENTS.name} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        stamp.write_text(REQUIREMENTS.read_text())
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.execv(python, [str(python), *sys.argv])
