# SPDX-License-Identifier: MIT
"""The tables of five published reports on the speed of key-value stores, repeated by `bench/engine seeds`.

For each: the workloads of the report at its sizes, beside the stores that it compares itself with, and what
our engine must show. A case is (entries, value size); (0, size) are the durable puts.

  000  a Python store of hash buckets: twelve operations at 1, 10 and 50 thousand entries of 200 B; ten times
       the best figure it published for each
  001  a Redis-like store's sorted sets: an ordered keyspace beside the C++ library's sets
  002  an LMDB-like store: 100 entries in a durable batch, random reads, beside LMDB
  003  an LSM store: its seven workloads, large values, synced and not, beside RocksDB
  004  a document store's roadmap: what each of its optimisations is there to save
"""

SIZES_000 = (1000, 10000, 50000)
SIZES_001 = (100000, 1000000)
SIZES_003 = (1000, 10000)
SETS = ["std-set", "counted-tree"]

# work here, operations a second published at best
PUBLISHED_000 = [
    ("put_seq", 252e3), ("put_batch_100", 272e3), ("get_hit", 249e3), ("get_miss", 619e3), ("contains", 501e3),
    ("iterate_keys", 622e3), ("iterate_values", 604e3), ("overwrite", 194e3), ("delete", 197e3), ("mixed", 262e3),
    ("prune", 222e3),
]
TIMES_000 = 10


def table_000():
    rows = []
    for entries in SIZES_000:
        for work, rate in PUBLISHED_000:
            if work == "prune":
                rows.append(((entries, 200), (work, "seconds", "kv", "most", entries / (rate * TIMES_000))))
            else:
                rows.append(((entries, 200), (work, "rate", "kv", "least", rate * TIMES_000)))
    return rows


def table_001():
    rows = []
    for entries in SIZES_001:
        rows += [((entries, 0), row) for row in (
            ("insert_random", "rate", "kv", "peer:std-set", 1 / 1.5),
            ("insert_ascending", "rate", "kv", "peer:std-set", 1 / 1.5),
            ("insert_bulk", "rate", "kv", "peer:std-set", 1 / 1.5),
            ("rank", "p50_ns", "kv", "most", 500),
            ("rank", "rate", "kv", "best", 1),
            ("select", "p50_ns", "kv", "most", 500),
            ("select", "rate", "kv", "best", 1),
            ("first", "p50_ns", "kv", "most", 50),
            ("last", "p50_ns", "kv", "most", 50),
            ("range_100_by_position", "rate", "kv", "best", 1),
            ("range_100_by_key", "rate", "kv", "best", 1),
            ("remove_random", "rate", "kv", "peer:std-set", 1 / 2),
            ("memory", "bytes_per_key", "kv", "most", 40),
        )]
    return rows


def table_003():
    rows = []
    for entries in SIZES_003:
        rows += [((entries, 30), (work, "rate", "kv", "best", 1))
                 for work in ("put_seq", "get_in_order", "get_hit", "mixed")]
    rows += [((100, size), (work, "rate", "kv", "best", 1)) for size in (1024, 4096) for work in ("put_seq", "get_hit")]
    rows.append(((10000, 1024), ("put_seq", "rate", "kv", "best", 1)))
    rows += [((0, 1024), (work, "rate", "kv", "best", 1)) for work in ("durable_1t", "durable_16t", "durable_64t")]
    return rows


def table_004():
    return [
        ((0, 0), ("put_new", "allocations_per_op", "kv", "most", 0.001)),
        ((0, 0), ("put_over", "allocations_per_op", "kv", "most", 0.001)),
        ((0, 0), ("get", "allocations_per_op", "kv", "most", 0)),
        ((0, 0), ("delete", "allocations_per_op", "kv", "most", 0.001)),
        ((100000, 1024), ("get_reopened", "rate", "kv", "own:get_hit", 0.5)),
        ((100000, 1024), ("space", "index_bytes_per_key", "kv", "most", 12)),
        ((100000, 1024), ("put_batch_100", "rate", "kv", "own:put_random", 1)),
        ((0, 1024), ("durable_64t", "rate", "kv", "own:durable_1t", 10)),
        ((100000, 1024), ("iterate_values", "grown_bytes", "kv", "most", 1 << 20)),
        ((100000, 1024), ("space", "disk_bytes_per_key_at_rest", "kv-zstd", "most", 512)),
    ]


TABLES = [
    ("000: a Python store, ten times its best published figures (rate a second; prune in seconds)", table_000()),
    ("001: sorted sets, beside the C++ library's", table_001()),
    ("002: an LMDB-like store, beside LMDB: 100 entries in a durable batch, random reads",
     [((0, 100), ("durable_batch_100", "rate", "kv", "best", 1)),
      ((100000, 100), ("get_hit", "rate", "kv", "best", 3))]),
    ("003: an LSM store, beside RocksDB", table_003()),
    ("004: a document store's roadmap", table_004()),
]

# cases whose figures are shown in full, too
DETAILS = [((entries, 0), ["kv"] + SETS) for entries in SIZES_001]


def steps(stores):
    """What to run: (set of workloads, case, stores). Those that are not built in are left out."""
    there = set(stores)
    ours, lmdb = ["kv", "kv-blake2b"], ["kv", "lmdb", "lmdb-map"]
    rocksdb, compressed = ["kv", "rocksdb", "rocksdb-tuned"], ["kv", "kv-zstd"]
    wanted = [(work_set, (entries, 200), ours) for entries in SIZES_000 for work_set in ("main", "random")]
    wanted += [("main", (100000, 100), lmdb), ("durable", (0, 100), lmdb)]
    wanted += [("main", (entries, 30), rocksdb) for entries in SIZES_003]
    wanted += [("main", (100, 1024), rocksdb), ("main", (100, 4096), rocksdb), ("main", (10000, 1024), rocksdb)]
    wanted += [("durable", (0, 1024), rocksdb)]
    wanted += [("main", (100000, 1024), compressed), ("random", (100000, 1024), compressed)]
    wanted = [(work_set, case, [name for name in names if name in there]) for work_set, case, names in wanted]
    wanted += [("ordered", (entries, 0), ["kv"] + SETS) for entries in SIZES_001]
    wanted.append(("allocations", (0, 0), ["kv"]))
    return wanted
