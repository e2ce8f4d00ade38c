"""Tables that deltalake writes, for smelt to read: each scenario is a function of a directory, SCENARIOS names them.

Each takes only what it needs of a library, and writes what other people's jobs write: many types, partitions, changes.
"""

import datetime
import decimal

UTC = datetime.timezone.utc
SCENARIOS = {}


def scenario(f):
    SCENARIOS[f.__name__] = f
    return f


def table(**columns):
    import pyarrow as pa

    return pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})


def write(path, data, **how):
    from deltalake import write_deltalake

    write_deltalake(path, data, **how)


def opened(path):
    from deltalake import DeltaTable

    return DeltaTable(path)


def numbered(first, n, name="x"):
    import pyarrow as pa

    ids = list(range(first, first + n))
    return table(id=(pa.int64(), ids), name=(pa.string(), [None if i % 5 == 0 else f"{name}{i}" for i in ids]))


def every_type():
    import pyarrow as pa

    def dec(text):
        return decimal.Decimal(text)

    first, last = datetime.date(1, 1, 1), datetime.date(9999, 12, 31)
    begin = datetime.datetime(1, 1, 1, tzinfo=UTC)
    before = datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    end = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    return table(
        id=(pa.int32(), [0, -(2**31), 2**31 - 1, 1]),
        ok=(pa.bool_(), [None, False, True, True]),
        tiny=(pa.int8(), [None, -128, 127, 0]),
        small=(pa.int16(), [None, -(2**15), 2**15 - 1, 0]),
        big=(pa.int64(), [None, -(2**63), 2**63 - 1, 0]),
        single=(pa.float32(), [None, -3.4028234663852886e38, 1.401298464324817e-45, 0.1]),
        twice=(pa.float64(), [None, -1.7976931348623157e308, 5e-324, -0.0]),
        d5=(pa.decimal128(5, 2), [None, dec("-999.99"), dec("999.99"), dec("0.01")]),
        d9=(pa.decimal128(9, 0), [None, dec("-999999999"), dec("999999999"), dec("0")]),
        d18=(pa.decimal128(18, 6), [None, dec("-999999999999.999999"), dec("999999999999.999999"), dec("0.000001")]),
        d38=(pa.decimal128(38, 10), [None, dec("-" + "9" * 28 + "." + "9" * 10), dec("9" * 28 + "." + "9" * 10), dec("1e-10")]),
        name=(pa.string(), [None, "", "Zoë 🚀 漢字\n\t\"'\\", "long " * 5000]),
        large=(pa.large_string(), [None, "", "NULL", "x"]),
        raw=(pa.binary(), [None, b"", bytes(range(256)), b"\0"]),
        day=(pa.date32(), [None, first, last, datetime.date(1582, 10, 10)]),
        at=(pa.timestamp("us", "UTC"), [None, begin, end, before]),
        at_ms=(pa.timestamp("ms", "Europe/Berlin"), [None, begin, before.replace(microsecond=0), datetime.datetime(2026, 7, 1, 12, tzinfo=UTC)]),
    )


@scenario
def types(path):
    write(path, every_type())


@scenario
def encodings(path):
    """The same rows in every codec and encoding that the writer has."""
    from deltalake import ColumnProperties, WriterProperties

    for codec in ["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD"]:
        write(path, every_type(), mode="append", writer_properties=WriterProperties(compression=codec))
    plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    write(path, every_type(), mode="append", writer_properties=WriterProperties(default_column_properties=plain))
    encodings_of = {
        "big": "DELTA_BINARY_PACKED", "id": "DELTA_BINARY_PACKED", "at": "DELTA_BINARY_PACKED", "twice": "BYTE_STREAM_SPLIT",
        "single": "BYTE_STREAM_SPLIT", "name": "DELTA_LENGTH_BYTE_ARRAY", "large": "DELTA_BYTE_ARRAY", "raw": "DELTA_BYTE_ARRAY", "ok": "RLE",
    }
    columns = {name: ColumnProperties(dictionary_enabled=False, encoding=encoding) for name, encoding in encodings_of.items()}
    small = WriterProperties(column_properties=columns, data_page_row_count_limit=2, write_batch_size=1, max_row_group_size=3)
    write(path, every_type(), mode="append", writer_properties=small)


@scenario
def lz4(path):
    from deltalake import WriterProperties

    write(path, numbered(0, 3), writer_properties=WriterProperties(compression="LZ4_RAW"))


@scenario
def nested(path):
    import pyarrow as pa

    point = pa.struct([("x", pa.int32()), ("y", pa.float64()), ("label", pa.string())])
    deep = pa.map_(pa.string(), pa.list_(pa.struct([("k", pa.int64()), ("m", pa.map_(pa.int32(), pa.decimal128(10, 2)))])))
    leaves = pa.struct([
        ("ok", pa.bool_()), ("d", pa.decimal128(38, 10)), ("raw", pa.binary()), ("day", pa.date32()), ("at", pa.timestamp("us", "UTC")),
        ("f", pa.float32()), ("tiny", pa.int8()), ("none", pa.string()),
    ])
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    full = {"ok": True, "d": decimal.Decimal("-1.0000000001"), "raw": b"\0\xff", "day": datetime.date(2026, 1, 2), "at": at, "f": 0.1, "tiny": -128, "none": None}
    for part in range(2):
        write(path, table(
            id=(pa.int64(), [4 * part + i for i in range(4)]),
            point=(point, [None, {"x": None, "y": None, "label": None}, {"x": 1, "y": 0.5, "label": "a \"b\" 漢"}, {"x": -1, "y": 1e300, "label": ""}]),
            list=(pa.list_(pa.int32()), [None, [], [None], [1, None, -3]]),
            texts=(pa.list_(pa.string()), [[], ["a", None, ""], None, ["Zoë"]]),
            points=(pa.list_(point), [None, [], [None, {"x": 1, "y": None, "label": "z"}], [{"x": 2, "y": 2.0, "label": None}] * 3]),
            lists=(pa.list_(pa.list_(pa.int64())), [None, [], [[], None, [None]], [[1, 2], [3]]]),
            map=(pa.map_(pa.string(), pa.int64()), [None, [], [("a", None)], [("b", 2), ("c", -(2**63))]]),
            deep=(deep, [None, [], [("k", None), ("l", [])], [("m", [{"k": 1, "m": [(1, decimal.Decimal("1.50")), (2, None)]}, None])]]),
            leaves=(leaves, [None, dict.fromkeys(full), full, {**full, "at": at.replace(microsecond=5000)}]),
        ), mode="append")


PARTED_BY = ["place", "day", "at", "ok", "price", "level", "ratio"]


def parted():
    import pyarrow as pa

    odd = ["a/b=c d%20e&f?g#h", "Zoë \"🚀\" : * < > | {x} [y] ~ ^ \\ ' `", "..", "null", None, "x", "__HIVE_DEFAULT_PARTITION__x", "a\nb"]
    n = len(odd)
    return table(
        id=(pa.int64(), list(range(n))),
        place=(pa.string(), odd),
        day=(pa.date32(), [datetime.date(2026, 1, 1), None, datetime.date(1969, 12, 31)] + [datetime.date(9999, 12, 31)] * (n - 3)),
        at=(pa.timestamp("us", "UTC"), [datetime.datetime(2026, 1, 1, 10, 0, 0, 500000, tzinfo=UTC), None] + [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)] * (n - 2)),
        ok=(pa.bool_(), [True, False, None] + [True] * (n - 3)),
        price=(pa.decimal128(10, 2), [decimal.Decimal("1.50"), None] + [decimal.Decimal("0.01")] * (n - 2)),
        level=(pa.int16(), [-1, None] + [7] * (n - 2)),
        ratio=(pa.float64(), [0.1, None] + [-1.5] * (n - 2)),
        name=(pa.string(), [None, ""] + ["n"] * (n - 2)),
    )


@scenario
def append_partitions(path):
    write(path, parted(), partition_by=PARTED_BY, mode="append")


@scenario
def partitions(path):
    append_partitions(path)
    append_partitions(path)
    opened(path).delete("id = 3")
    opened(path).create_checkpoint()
    append_partitions(path)


@scenario
def changed(path):
    """Every operation, a checkpoint in the middle and a VACUUM at the end."""
    import pyarrow as pa

    for part in range(4):
        write(path, numbered(100 * part, 100), mode="append")
    opened(path).delete("id % 7 = 3")
    opened(path).update(predicate="id % 10 = 4", updates={"name": "concat(name, '!')"})
    merge = opened(path).merge(numbered(350, 100, "merged"), "t.id = s.id", source_alias="s", target_alias="t")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    opened(path).create_checkpoint()
    opened(path).optimize.compact()
    opened(path).generate()  # a list of the files, for readers without Delta
    write(path, numbered(1000, 10), mode="append")
    opened(path).compact_logs(1, 3)  # one file for the commits 1 to 3, beside them
    write(path, numbered(0, 5, "replaced").append_column("extra", pa.array([1.5] * 5)), mode="overwrite", predicate="id < 5", schema_mode="merge")
    opened(path).optimize.z_order(["id"])
    opened(path).restore(opened(path).version() - 1)
    opened(path).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


@scenario
def reshaped(path):
    """New columns, and then another schema altogether."""
    import pyarrow as pa

    write(path, numbered(0, 3))
    write(path, table(id=(pa.int64(), [3]), later=(pa.list_(pa.int32()), [[1, 2]])), mode="append", schema_mode="merge")
    opened(path).create_checkpoint()
    write(path, table(name=(pa.string(), ["a"]), id=(pa.string(), ["text now"]), day=(pa.date32(), [datetime.date(2026, 1, 1)])), mode="overwrite", schema_mode="overwrite")


@scenario
def long_log(path):
    """More commits than delta-rs takes between two checkpoints, and no log before the last of them."""
    for part in range(120):
        write(path, numbered(2 * part, 2), mode="append")
    opened(path).create_checkpoint()
    opened(path).cleanup_metadata()


@scenario
def growing(path):
    write(path, numbered(0, 10), mode="append")


@scenario
def append_some(path):
    """Rows that lack the newest columns."""
    write(path, numbered(0, 10), mode="append", schema_mode="merge")


@scenario
def append_often(path):
    from deltalake.exceptions import CommitFailedError

    for n in range(30):
        while True:
            try:
                write(path, numbered(2000 + n, 1), mode="append")
                break
            except CommitFailedError:  # it gives up after fifteen tries; a faster writer may win all of them
                pass


@scenario
def more(path):
    """What happens to a table that smelt follows: rows come, and files are merged without a change of rows."""
    first = opened(path).count()
    write(path, numbered(first, 10), mode="append")
    opened(path).optimize.compact()
    write(path, numbered(first + 10, 10), mode="append")


@scenario
def append_types(path):
    write(path, every_type(), mode="append")


@scenario
def no_zone(path):
    import pyarrow as pa

    at = datetime.datetime(2026, 1, 1, 10, 0, 0, 500000)
    write(path, table(id=(pa.int64(), [1, 2]), at=(pa.timestamp("us"), [at, None])))


@scenario
def no_rows(path):
    write(path, every_type().slice(0, 0))


def feature(name):
    def add(path):
        from deltalake import TableFeatures

        write(path, numbered(0, 3))
        opened(path).alter.add_feature(getattr(TableFeatures, name), allow_protocol_versions_increase=True)

    SCENARIOS["feature " + name] = add


for each in ["ChangeDataFeed", "CheckConstraints", "DeletionVectors", "DomainMetadata", "RowTracking", "V2Checkpoint", "ColumnMapping", "GeneratedColumns", "IdentityColumns", "IcebergCompatV1"]:
    feature(each)


@scenario
def upgrade(path):
    """A feature that smelt cannot read comes to a table."""
    from deltalake import TableFeatures

    opened(path).alter.add_feature(TableFeatures.V2Checkpoint, allow_protocol_versions_increase=True)


@scenario
def constrained(path):
    write(path, numbered(0, 3))
    opened(path).alter.add_constraint({"positive": "id >= 0"})


@scenario
def change_feed(path):
    write(path, numbered(0, 30), configuration={"delta.enableChangeDataFeed": "true"})
    opened(path).delete("id % 3 = 0")


@scenario
def append_only(path):
    write(path, numbered(0, 3), configuration={"delta.appendOnly": "true"})
