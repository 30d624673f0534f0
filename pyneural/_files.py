"""Files that are whole or absent: written beside their place, brought to the disk, and only then given their name."""

from __future__ import annotations

import os
import secrets


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file so that, whenever the process or the machine stops, its place holds the old file or the new one.

    A link is followed, and the file behind it replaced. Raises OSError, and leaves the old file, if anything fails.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    partial = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    if os.name == "posix":  # the new name itself is on the disk once the folder is
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
