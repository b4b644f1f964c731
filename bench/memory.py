# SPDX-License-Identifier: MIT
"""memory.py - memory that the machine has at hand before a store's turn.

A virtual machine may give free memory back to its host (free page reporting: two seconds after it became
free), and then waits for it at each first touch: 2 to 4 ms for 2 MiB, as long as a store takes for 20,000 puts.
Which store that falls on hangs on what ran before. So each turn begins with memory that was touched just now."""

import mmap

MADV_POPULATE_WRITE = 23  # Linux 5.14; not among mmap's names


def number_in(path):
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):  # none, or "max"
        return None


def free():
    """Free memory, in a cgroup what that leaves of it, without taking any from the cache."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":") for line in file)
    least = int(fields["MemFree"].split()[0]) * 1024
    with open("/proc/self/cgroup", encoding="ascii") as file:
        own = [line.strip().split(":")[2] for line in file if line.startswith("0::")]
    for path in own:
        limit = number_in(f"/sys/fs/cgroup{path}/memory.max")
        used = number_in(f"/sys/fs/cgroup{path}/memory.current")
        if limit is not None and used is not None:
            least = min(least, limit - used)
    return max(least, 0)


def touch(size):
    """Touches so many bytes, half of what is free at most, and lets go of them."""
    size = min(size, free() // 2)
    try:
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(MADV_POPULATE_WRITE)
    except (OSError, ValueError):  # an older kernel, or no memory: nothing depends on it
        pass
