"""A file that HDF5 can write to a disk that fills up.

HDF5 does not bear a write that fails: it can then neither flush its caches nor close the file, and
the process ends in a segmentation fault. So it writes through a Python object, is never told of a
failure, and the failure is raised once HDF5 has let go.
"""

import io
from pathlib import Path
from typing import Any


class HDF5File(io.RawIOBase):
    """A new file for ``h5py`` and what builds on it; closing raises a failure not yet raised."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b", buffering=0)
        self._failure: OSError | None = None
        self._raised = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        left = memoryview(buffer).cast("B")
        size = len(left)
        while left and (count := self._file.readinto(left)):
            left = left[count:]
        left[:] = bytes(len(left))  # what could not be written
        return size

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._failure = self._failure or error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return self.tell() if size is None else size

    def raise_failure(self) -> None:
        """Raise the first failure so far, once, if there was one; HDF5 must not be in a call."""
        if self._failure is not None and not self._raised:
            self._raised = True
            raise self._failure

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._file.close()
            self.raise_failure()
