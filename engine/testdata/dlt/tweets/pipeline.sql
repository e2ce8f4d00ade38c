-- Tweets by mention, as a Delta Live Tables pipeline writes it.
CREATE OR REFRESH STREAMING LIVE TABLE bronze
COMMENT "tweets as they came"
AS SELECT *, input_file_name() AS source_file, current_timestamp() AS processing_time
FROM cloud_files("tweets", "json", map("cloudFiles.inferColumnTypes", "true"));

CREATE OR REFRESH STREAMING LIVE TABLE silver (
  CONSTRAINT valid_time EXPECT (timestamp IS NOT NULL) ON VIOLATION DROP ROW
)
COMMENT "one row per mention"
AS SELECT to_timestamp(date, "EEE MMM dd HH:mm:ss z yyyy") AS timestamp,
          mention,
          trim(regexp_replace(text, "@\\S+", "")) AS cleaned_text,
          sentiment
FROM (SELECT *, explode(regexp_extract_all(text, "@(\\S+)", 1)) AS mention FROM STREAM(LIVE.bronze)) t;

CREATE OR REFRESH LIVE TABLE app
AS SELECT mention, min(timestamp) AS min_timestamp, max(timestamp) AS max_timestamp,
  sum(CASE WHEN sentiment == 'positive' THEN 1 ELSE 0 END) AS positive,
  sum(if(sentiment == 'negative', 1, 0)) AS negative,
  count(*) AS total
FROM LIVE.silver
GROUP BY mention
ORDER BY total DESC NULLS LAST;
