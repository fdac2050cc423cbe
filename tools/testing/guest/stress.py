# SPDX-License-Identifier: GPL-2.0-only
"""Changes a file system until power is cut or an operation fails.

    stress.py <folder> <seed> <log>

Changes of most of its files are in the journal, or are not.  Others are written
once, synced, and never touched again: these are logged as `sha256sum --check` wants it.
"""

import ctypes
import errno
import hashlib
import itertools
import mmap
import os
import random
import sys

PAGE = 4096
PUNCH_HOLE = 0x01 | 0x02
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE."""

EXPECTED = {
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
}
"""Errors to be expected of random changes; any other one ends the program."""

LIBC = ctypes.CDLL(None, use_errno=True)


def fallocate(file, mode, offset, length):
    """Calls fallocate(2), of which Python provides only a part."""
    long = ctypes.c_long
    if LIBC.fallocate(file, mode, long(offset), long(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def opened(name, flags):
    """Opens a file unbuffered, for the duration of a `with` block."""
    return open(name, "r+b", buffering=0, opener=lambda path, _: os.open(path, flags, 0o600))


def write_direct(name, offset, content):
    """Writes whole pages, past the page cache."""
    with mmap.mmap(-1, len(content)) as memory, opened(name, os.O_RDWR | os.O_DIRECT) as file:
        memory.write(content)
        if os.pwrite(file.fileno(), memory, offset) != len(content):
            raise OSError(errno.ENOSPC, "a short write")


def pages(most):
    """Returns a random size in bytes, from one page on."""
    return random.randint(1, most) * PAGE


class Stress:
    """The files of one process."""

    def __init__(self, folder):
        self.kept = os.path.join(folder, "kept")
        self.folders = [os.path.join(folder, f"folder{number}") for number in range(4)]
        self.names = [os.path.join(folder, str(number)) for number in range(48)]
        self.names += [os.path.join(each, name) for each in self.folders for name in "ab"]
        self.count = itertools.count()
        os.makedirs(self.kept)

    def any(self):
        """Returns the path of a file that may exist."""
        return random.choice(self.names)

    def append(self):
        """Appends to a file, and may sync it."""
        with opened(self.any(), os.O_RDWR | os.O_CREAT | os.O_APPEND) as file:
            file.write(os.urandom(random.randrange(1, 65536)))
            if random.randrange(2):
                os.fsync(file.fileno())

    def overwrite(self):
        """Overwrites pages by direct I/O."""
        write_direct(self.any(), random.randrange(16) * PAGE, os.urandom(pages(8)))

    def allocate(self):
        """Preallocates space, and punches holes."""
        with opened(self.any(), os.O_RDWR | os.O_CREAT) as file:
            mode = random.choice((0, PUNCH_HOLE))
            fallocate(file.fileno(), mode, random.randrange(65536), random.randrange(1, 65536))

    def truncate(self):
        """Truncates a file to a random size."""
        os.truncate(self.any(), random.randrange(65536))

    def rename(self):
        """Renames a file or a folder over another one."""
        choices = random.choice((self.names, self.folders))
        os.rename(random.choice(choices), random.choice(choices))

    def link(self):
        """Adds a hard link."""
        os.link(self.any(), self.any())

    def unlink(self):
        """Removes a name."""
        os.unlink(self.any())

    def make_folder(self):
        """Makes a folder for some of the files."""
        os.mkdir(random.choice(self.folders))

    def remove_folder(self):
        """Removes a folder with its files."""
        folder = random.choice(self.folders)
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)

    def keep(self):
        """Writes and syncs a new file, which must survive the crash."""
        name = os.path.join(self.kept, str(next(self.count)))
        content = bytearray(os.urandom(pages(3) + random.randrange(PAGE)))
        size = len(content)
        with opened(name, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
            # All space first: a file that is left half-written would be no harm, but no use.
            fallocate(file.fileno(), 0, 0, size)
            file.write(content)
            if random.randrange(2):
                content[:PAGE] = os.urandom(PAGE)
                write_direct(name, 0, content[:PAGE])
            if random.randrange(2):
                start = random.randrange(size)
                length = min(random.randrange(1, PAGE), size - start)
                fallocate(file.fileno(), PUNCH_HOLE, start, length)
                content[start : start + length] = bytes(length)
            os.fsync(file.fileno())
        folder = os.open(self.kept, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)
        return f"{hashlib.sha256(content).hexdigest()}  {name}"


def main():
    """Runs until it is killed."""
    folder, seed, log = sys.argv[1:]
    random.seed(int(seed))
    stress = Stress(folder)
    chaos = [
        *(stress.append, stress.append, stress.overwrite, stress.allocate, stress.truncate),
        *(stress.rename, stress.link, stress.unlink, stress.unlink),
        *(stress.make_folder, stress.remove_folder),
    ]
    with open(log, "a", buffering=1) as lines:
        while True:
            try:
                if random.randrange(8):
                    random.choice(chaos)()
                else:
                    print(stress.keep(), file=lines)
            except OSError as error:
                if error.errno not in EXPECTED:
                    raise


main()
