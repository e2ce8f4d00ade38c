SET startDate = '2024-01-01';

CREATE OR REFRESH STREAMING TABLE readings_raw (value STRING, source_file STRING)
AS SELECT value, _metadata.file_path AS source_file FROM STREAM read_files('readings', format => 'text');

CREATE TEMPORARY VIEW parsed AS
SELECT from_json(value, 'device STRING, ts TIMESTAMP, temp DOUBLE, ok BOOLEAN, tags MAP<STRING, STRING>, samples ARRAY<INT>') AS data
FROM STREAM readings_raw;

CREATE OR REFRESH STREAMING TABLE readings (
  CONSTRAINT has_device EXPECT (device IS NOT NULL) ON VIOLATION DROP ROW,
  CONSTRAINT sane EXPECT (temp BETWEEN -40 AND 60)
) CLUSTER BY (device)
AS SELECT data.device, data.ts, data.temp, data.ok, data.tags['room'] AS room, array_max(data.samples)::int AS highest, data.samples[0] AS first_sample
FROM STREAM(parsed) WHERE data.ts >= '${startDate}' OR data.ts IS NULL;

CREATE STREAMING TABLE samples AS
SELECT data.device, pos, sample FROM STREAM(parsed) LATERAL VIEW posexplode(data.samples) s AS pos, sample;

CREATE OR REFRESH MATERIALIZED VIEW hourly AS
SELECT device, date_trunc('HOUR', ts) AS hour, avg(temp) AS temp, count_if(ok) AS good, date_format(min(ts), 'EEE HH:mm') AS first_seen
FROM readings GROUP BY device, date_trunc('HOUR', ts);

CREATE MATERIALIZED VIEW newest AS
SELECT * EXCEPT (place) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY ts DESC NULLS LAST) AS place FROM readings) r WHERE place = 1;
