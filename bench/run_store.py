# SPDX-License-Identifier: MIT
"""The sections of `bench/run` about what a store takes: density of small files, and how soon a mount is ready."""

import glob
import os
import time

INODE_BYTES = 256  # of ext4, beside the blocks


def texts(top, size):
    """Pieces of this repository's own sources: text as people write it, none of them twice."""
    paths = sorted(glob.glob(os.path.join(top, "*", "*.[ch]")) + glob.glob(os.path.join(top, "*", "*", "*.[ch]")))
    whole = b"".join(open(path, "rb").read() for path in paths)
    number = 0
    while True:
        start = number * 977 % (len(whole) - size)
        # where the sources have been through, each text still begins in its own way
        yield (b"%d " % number + whole[start:start + size])[:size]
        number += 1


def write_files(directory, files, contents):
    os.mkdir(directory)
    handle = os.open(directory, os.O_RDONLY)
    for number in range(files):
        file = os.open(f"file-{number:08}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=handle)
        os.write(file, next(contents))
        os.close(file)
    os.fsync(handle)
    os.close(handle)


def native_bytes(directory):
    """Blocks and inodes: of the files, and of the directory."""
    total = os.stat(directory).st_blocks * 512
    with os.scandir(directory) as entries:
        for entry in entries:
            total += entry.stat().st_blocks * 512 + INODE_BYTES
    return total


def measure_density(results, target, run, top, files):
    """Bytes on the disk for a file: of a store, those of its log; pruned, as it is when it has had time for itself."""
    for work, size in (("density 100 B", 100), ("density 1 KiB text", 1024)):
        if target.name == "nullfs":
            continue
        directory = os.path.join(target.directory, "density")
        before = target.log_bytes() if target.is_kvfs else 0
        write_files(directory, files, texts(top, size))
        if target.is_kvfs:
            written = (target.log_bytes() - before) / files
            target.prune()
            results.add(work, "B", target.name, run, bytes=(target.log_bytes() - before) / files, written=written)
        else:
            os.sync()
            results.add(work, "B", target.name, run, bytes=native_bytes(directory) / files)
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
        if target.is_kvfs:
            target.prune()


def measure_ready(results, target, run, files):
    """From the start of the command to the first answer, of a store that was closed."""
    if not target.is_kvfs:
        return
    contents = iter(lambda: b"x" * 100, None)
    for directory in range(10):
        write_files(os.path.join(target.directory, f"{directory}"), files // 10, contents)
    target.end()
    for _ in range(3):
        begun = time.monotonic()
        target.launch(0.0005)
        elapsed = time.monotonic() - begun
        target.end()
        results.add(f"mount ready, {files} files", "ms", target.name, run, ms=elapsed * 1e3)
    target.launch(0.01)


def report(results, targets):
    """Rows for what has no rate."""
    rows = [["bytes a file; ms"] + targets]
    for work in results.works:
        if results.units[work] in ("B", "ms") and not any(results.of(work, target) for target in targets):
            cells = []
            for target in targets:
                value = results.median(work, target, "ms" if results.units[work] == "ms" else "bytes")
                written = results.median(work, target, "written")
                cells.append("-" if value is None else f"{value:.1f}" +
                             (f" (as written {written:.0f})" if written else ""))
            rows.append([work] + cells)
    return rows
