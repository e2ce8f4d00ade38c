"""The other implementations of Delta Lake. Each reads a version of a table into an Arrow table, in the order of its columns."""

import glob
import importlib.metadata
import os

import replay


class Missing(Exception):
    """What a reader needs is not here."""


class Reader:
    libraries = ()

    def versions(self):
        return {name: importlib.metadata.version(name) for name in self.libraries}


class DeltaRs(Reader):
    """delta-rs finds the files, Arrow's own C++ reader reads them."""

    libraries = ("deltalake", "pyarrow")

    def __init__(self):
        import deltalake
        import pyarrow  # noqa: F401, named in the reason for a skip

        self.open = deltalake.DeltaTable

    def read(self, path, version):
        table = self.open(path, version=version)
        return table.version(), table.to_pyarrow_table()

    def history(self, path):
        return self.open(path).history()


class DeltaRsSQL(DeltaRs):
    """delta-rs all the way: its own scan, with pruning by statistics, in DataFusion."""

    def read(self, path, version):
        import deltalake
        import pyarrow as pa

        table = self.open(path, version=version)
        names = ", ".join(f'"{f.name}"' for f in table.schema().fields)
        batches = deltalake.QueryBuilder().register("t", table).execute(f"SELECT {names} FROM t")
        return table.version(), plain(pa.table(batches.read_all()))


class Polars(Reader):
    libraries = ("polars", "deltalake")

    def __init__(self):
        import deltalake
        import polars

        self.polars, self.open = polars, deltalake.DeltaTable

    def read(self, path, version):
        table = self.open(path, version=version)
        return table.version(), plain(self.polars.scan_delta(table).collect().to_arrow())


class DuckDB(Reader):
    """DuckDB's delta extension, which is delta-kernel-rs, and DuckDB's own Parquet reader."""

    libraries = ("duckdb", "duckdb_extension_delta")

    def __init__(self):
        import duckdb
        import duckdb_extension_delta

        directory = os.path.dirname(duckdb_extension_delta.__file__)
        found = glob.glob(os.path.join(directory, "extensions", "v" + duckdb.__version__, "*.duckdb_extension"))
        if not found:
            raise Missing(f"no delta extension for DuckDB {duckdb.__version__}")
        self.db = duckdb.connect()
        self.db.execute(f"LOAD '{found[0]}'")
        self.db.execute("SET TimeZone = 'UTC'")

    def read(self, path, version):
        at = "" if version is None else f", version => {version}"
        table = self.db.execute(f"SELECT * FROM delta_scan('{path}'{at})").fetch_arrow_table()
        newest = replay.newest(path) if version is None else version
        return newest, plain(table)


class DuckDBReplay(Reader):
    """Fifty lines of Python follow the log, DuckDB reads the checkpoints and the Parquet files."""

    libraries = ("duckdb",)
    types = {
        "string": "VARCHAR", "binary": "BLOB", "boolean": "BOOLEAN", "byte": "TINYINT", "short": "SMALLINT", "integer": "INTEGER",
        "long": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "date": "DATE", "timestamp": "TIMESTAMPTZ",
    }

    def __init__(self):
        import duckdb

        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")

    def rows(self, path):
        return self.db.execute("SELECT * FROM read_parquet(?)", [path]).fetch_arrow_table().to_pylist()

    def read(self, path, version):
        import pyarrow as pa

        state = replay.replay(path, version, self.rows)
        parts = []
        for file, values in state.files:
            held = {c[0] for c in self.db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [file]).fetchall()}
            columns, parameters = [], []
            for name, kind in state.columns:
                source = "NULL"
                if name in values:
                    source = "?"
                    parameters.append(values[name])
                elif name in held:
                    source = f'"{name}"'
                columns.append(f'CAST({source} AS {self.types.get(kind, kind)}) AS "{name}"')
            query = f"SELECT {', '.join(columns)} FROM read_parquet(?)"
            parts.append(plain(self.db.execute(query, [*parameters, file]).fetch_arrow_table()))
        if not parts:
            empty = ", ".join(f'CAST(NULL AS {self.types.get(kind, kind)}) AS "{name}"' for name, kind in state.columns)
            parts.append(plain(self.db.execute(f"SELECT {empty} LIMIT 0").fetch_arrow_table()))
        return state.version, pa.concat_tables(parts)


class ClickHouse(Reader):
    """ClickHouse in a library; deltaLakeLocal follows the log with delta-kernel-rs, Arrow's form comes from ClickHouse."""

    libraries = ("chdb", "chdb-core", "deltalake")

    def __init__(self):
        import chdb
        import deltalake

        os.chdir("/")  # it opens nothing outside of the working directory
        self.query, self.open = chdb.query, deltalake.DeltaTable

    def read(self, path, version):
        if version is not None:
            raise Missing("older versions are not asked of ClickHouse")
        # It has one type for text and bytes: bytes come as hexadecimal digits, as peer.py writes them.
        binary = [f.name for f in self.open(path).schema().fields if str(f.type) == 'PrimitiveType("binary")']
        columns = f"* REPLACE ({', '.join(f'lower(hex(`{c}`)) AS `{c}`' for c in binary)})" if binary else "*"
        table = self.query(f"SELECT {columns} FROM deltaLakeLocal('{path}')", "ArrowTable")
        return replay.newest(path), plain(table)


class Spark(Reader):
    """Spark without Delta's jars: Python follows the log, Spark reads the checkpoints and the Parquet files."""

    libraries = ("pyspark",)

    def __init__(self):
        from pyspark.sql import SparkSession

        self.spark = self.session(SparkSession.builder)
        self.spark.sparkContext.setLogLevel("ERROR")

    def session(self, builder):
        return (
            builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .getOrCreate()
        )

    def rows(self, path):
        return [row.asDict(recursive=True) for row in self.spark.read.parquet(path).collect()]

    def read(self, path, version):
        import functools

        from pyspark.sql.functions import lit
        from pyspark.sql.types import StructType

        state = replay.replay(path, version, self.rows)
        schema = StructType.fromJson(state.schema)
        groups = {}
        for file, values in state.files:
            groups.setdefault(tuple(sorted(values.items())), []).append(file)
        frames = [self.spark.createDataFrame([], schema)]
        for values, files in groups.items():
            values = dict(values)
            held = StructType([f for f in schema if f.name not in values])
            frame = self.spark.read.schema(held).parquet(*files)
            for name, value in values.items():
                frame = frame.withColumn(name, lit(value).cast(schema[name].dataType))
            frames.append(frame.select([f"`{f.name}`" for f in schema]))
        return state.version, functools.reduce(lambda a, b: a.unionAll(b), frames).toArrow()


class DeltaSpark(Spark):
    """Delta Lake's own implementation; DELTA_SPARK_JARS names delta-spark, delta-storage and what they need."""

    libraries = ("pyspark", "delta-spark")

    def session(self, builder):
        jars = os.environ.get("DELTA_SPARK_JARS")
        if not jars:
            raise Missing("DELTA_SPARK_JARS names no jars (delta-spark, delta-storage), separated by commas")
        return super().session(
            builder.config("spark.jars", jars)
            .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
            .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        )

    def read(self, path, version):
        at = "" if version is None else f" VERSION AS OF {version}"
        newest = self.history(path)[0]["version"] if version is None else version
        return newest, self.spark.sql(f"SELECT * FROM delta.`{path}`{at}").toArrow()

    def history(self, path):
        return [row.asDict() for row in self.spark.sql(f"DESCRIBE HISTORY delta.`{path}`").collect()]

    def stream(self, path):
        """All rows as a stream hands them out that begins with the oldest version, and so in several micro-batches."""
        import tempfile

        with tempfile.TemporaryDirectory() as checkpoints:
            stream = self.spark.readStream.format("delta").option("startingVersion", "0").option("maxFilesPerTrigger", "2").load(path)
            query = stream.writeStream.format("memory").queryName("streamed").trigger(availableNow=True)
            query.option("checkpointLocation", checkpoints).start().awaitTermination()
        return self.spark.table("streamed").toArrow()


def plain(table):
    """The table without the string and list views that some libraries hand out."""
    import pyarrow as pa

    def plain_type(kind):
        if kind == pa.string_view():
            return pa.large_string()
        if kind == pa.binary_view():
            return pa.large_binary()
        return kind

    fields = [f.with_type(plain_type(f.type)) for f in table.schema]
    return table.cast(pa.schema(fields))


READERS = {
    "deltalake": DeltaRs,
    "deltalake-sql": DeltaRsSQL,
    "polars": Polars,
    "duckdb": DuckDB,
    "duckdb-replay": DuckDBReplay,
    "clickhouse": ClickHouse,
    "spark": Spark,
    "delta-spark": DeltaSpark,
}
