"""The eleven failures by name, each a kind of NightgraftError, for `except WrongKey:`."""

from .nightgraft_ffi import NightgraftError


def _kind(name: str) -> type[NightgraftError]:
    kind: type[NightgraftError] = getattr(NightgraftError, name)
    assert issubclass(kind, NightgraftError)
    return kind


InvalidModel = _kind("InvalidModel")
ModelChanged = _kind("ModelChanged")
InvalidData = _kind("InvalidData")
OutOfMemoryBudget = _kind("OutOfMemoryBudget")
StorageFull = _kind("StorageFull")
StoreLocked = _kind("StoreLocked")
Corrupted = _kind("Corrupted")
WrongKey = _kind("WrongKey")
Cancelled = _kind("Cancelled")
Unsupported = _kind("Unsupported")
Internal = _kind("Internal")
