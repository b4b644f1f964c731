# SPDX-License-Identifier: MIT
"""memory.py - memory that the machine has at hand before a store's turn.

A virtual machine may give free memory back to its host (free page reporting: two seconds after it became
free), and then waits for it at each first touch: 2 to 4 ms for 2 MiB, as long as a store takes for 20,000 puts.
Which store that falls on hangs on what ran before. So each turn begins with memory that was touched just now."""

import mmap

MADV_POPULATE_WRITE = 23  # Linux 5.14; not among mmap's names


def available():
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":") for line in file)
    return int(fields["MemAvailable"].split()[0]) * 1024


def touch(size):
    """Touches so many bytes, half of what is available at most, and lets go of them."""
    size = min(size, available() // 2)
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(MADV_POPULATE_WRITE)
        except OSError:  # an older kernel: nothing depends on it
            pass
