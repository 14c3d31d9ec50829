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


def cache() -> Path:
    """The folder of this project in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightgraft"


def location() -> Path:
    """`$NIGHTGRAFT_GOLDEN_VENV`, or a folder in the user's cache."""
    chosen = os.environ.get("NIGHTGRAFT_GOLDEN_VENV")
    return Path(chosen) if chosen else cache() / "golden-venv"


def enter(only: tuple[str, ...] = ()) -> None:
    """Continue in the pinned environment, making or repairing it first; with `only`, in a smaller one beside it that
    has these packages and not PyTorch."""
    folder, wanted = location(), REQUIREMENTS.read_text()
    if only:
        folder = folder.with_name("-".join([folder.name, *only]))
        lines = wanted.splitlines(keepends=True)
        wanted = "".join(line for line in lines if line.split("==")[0] in only)
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {wanted.split()} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted.split()], check=True)
        stamp.write_text(wanted)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.execv(python, [str(python), *sys.argv])
