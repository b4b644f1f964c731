# SPDX-License-Identifier: MIT
"""What `bench/run` must show: each row's target, and whether it was met.

A stream can be no faster than the disk that it comes from or goes to, so the rows of 1 MiB are held against the
smaller of the server that does no work and the native file system's direct I/O of the same kind. All ratios are
taken within a run; what is judged is their median.
"""

NAMES = ("create", "stat", "list", "rename", "unlink")  # metadata
DATA = ("read", "overwrite")
NATIVE = {"create": 0.6, "stat": 0.5, "read": 2, "overwrite": 1, "rename": 0.5, "unlink": 1.5, "list": 1}
CPU_US = 2  # beyond that of the server that does no work
DURABLE = 2
LOG = 1.1  # bytes appended for a byte of data
DENSITY = {"density 100 B": 0.1, "density 1 KiB text": 0.25}
READY_MS = 50

SMALL_IO = ("seq read 4K buffered 1j", "seq write 4K buffered+fsync 1j", "rand read 4K direct 1j",
            "rand read 4K direct 4j", "rand write 4K direct 1j", "rand write 4K direct 4j")
# stream, and the row that says what the disk can do
STREAMS = {
    "seq read 1M direct 1j": "seq read 1M direct 1j",
    "seq read 1M direct 4j": "seq read 1M direct 4j",
    "seq read 1M buffered 1j": "seq read 1M direct 1j",
    "seq write 1M direct 1j": "seq write 1M direct 1j",
    "seq write 1M direct 4j": "seq write 1M direct 4j",
    "seq write 1M buffered+fsync 1j": "seq write 1M direct 1j",
    "rand read 1M direct 1j": "rand read 1M direct 1j",
}


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


class Judge:
    """Collects rows of what was measured, what it should be, and whether it is."""

    def __init__(self, results, native):
        self.results = results
        self.native = native
        self.rows = [["target", "measured", "wanted", ""]]
        self.missed = 0

    def row(self, what, values, limit, at_least=True, unit=""):
        values = list(values)
        if not values:
            return
        value = median(values)
        met = value >= limit if at_least else value <= limit
        self.missed += not met
        self.rows.append([what, f"{value:.2f}{unit}", f"{'>=' if at_least else '<='} {limit:g}{unit}",
                          "met" if met else "MISSED"])

    def pairs(self, work, of, base, measure="rate", base_work=None):
        above, below = self.results.of(work, of, measure), self.results.of(base_work or work, base, measure)
        return [(above[run], below[run]) for run in above if below.get(run)]

    def ratio(self, work, base, limit, measure="rate", at_least=True):
        self.row(f"{work}: kvfs/{base}", (a / b for a, b in self.pairs(work, "kvfs", base, measure)), limit, at_least)

    def small_files(self):
        for threads in ("1t", "2t"):
            for name in NAMES + DATA:
                self.ratio(f"{name} {threads}", "nullfs", 0.9 if name in NAMES else 0.8)
        for name in NAMES:
            pairs = self.pairs(f"{name} 1t", "kvfs", "nullfs", "cpu_us")
            self.row(f"{name} 1t: server's CPU beyond nullfs's", (a - b for a, b in pairs), CPU_US, False, " us")
        for name, limit in NATIVE.items():
            self.ratio(f"{name} 2t", self.native, limit)
        self.ratio("durable 16t", self.native, DURABLE)

    def fio(self):
        for work in SMALL_IO:
            self.ratio(work, "nullfs", 0.8)
        for work in SMALL_IO:
            self.row(f"{work}: log bytes a byte", self.results.of(work, "kvfs", "log").values(), LOG, False)
        for work, disk_work in STREAMS.items():
            nullfs = self.results.of(work, "nullfs")
            disk = self.results.of(disk_work, self.native)
            kvfs = self.results.of(work, "kvfs")
            self.row(f"{work}: kvfs/smaller of nullfs and disk",
                     (kvfs[run] / min(nullfs[run], disk[run]) for run in kvfs if nullfs.get(run) and disk.get(run)), 0.9)

    def store(self):
        for work, limit in DENSITY.items():
            self.ratio(work, self.native, limit, "bytes", False)
        for work in self.results.works:
            if work.startswith("mount ready"):
                self.row(work, self.results.of(work, "kvfs", "ms").values(), READY_MS, False, " ms")


def judge(results, native):
    """The rows, and how many targets were missed."""
    judged = Judge(results, native)
    judged.small_files()
    judged.fio()
    judged.store()
    return judged.rows, judged.missed
