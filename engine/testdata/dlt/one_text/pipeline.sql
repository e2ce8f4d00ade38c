CREATE STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('tweets', format => 'json', schemaHints => 'date STRING, text STRING, sentiment STRING');

CREATE STREAMING TABLE silver (
  /*! CONSTRAINT has_text EXPECT (cleaned_text <> '') ON VIOLATION QUARANTINE */
) COMMENT 'one row per mention' /*! TRIGGER ON UPDATE */
AS SELECT to_timestamp(substring(date, 5), 'MMM dd HH:mm:ss z yyyy') AS ts, mention, regexp_replace(text, '@\\S+', '') AS cleaned_text, sentiment
FROM STREAM(bronze) LATERAL VIEW explode(regexp_extract_all(text, '@(\\S+)', 1)) m AS mention;
CREATE STREAMING TABLE gold (ts TIMESTAMP, mention STRING, predicted_sentiment STRING, predicted_score DOUBLE   -- all columns or none
  /*! , CONSTRAINT sure EXPECT (predicted_score > 50) */ )
AS SELECT ts, mention, sentiment(cleaned_text) AS predicted_sentiment, 100 * sentiment_score(cleaned_text) AS predicted_score FROM STREAM silver;
CREATE MATERIALIZED VIEW app /*! REFRESH POLICY INCREMENTAL STRICT */ AS SELECT mention, min(ts) AS min_timestamp,
  sum(CASE WHEN predicted_sentiment = 'positive' THEN 1 ELSE 0 END) AS positive FROM gold GROUP BY mention;
