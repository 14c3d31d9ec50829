"""What a SOURCE file says of where golden values come from."""

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(*packages: str) -> str:
    """Python's version and those of some packages, in a line."""
    return f"Python {sys.version.split()[0]}; " + ", ".join(f"{package} {version(package)}" for package in packages)
