-- Who is praised and who is blamed? Four tables from files of {date, user, text, sentiment}.
-- No expectation here drops a row: silver promises one row per mention and gold one prediction per row of silver, so
-- rules only count and warn (see smelt.expectations).

CREATE OR REFRESH STREAMING TABLE bronze
COMMENT 'Tweets as they arrived, one row per tweet, with the file they came from and the time they were read'
AS SELECT *, source_file, processing_time
-- The hints give the table its columns before the first file is there; a field that a later file adds widens it.
FROM STREAM read_files('tweets', format => 'json',
  schemaHints => 'date STRING, user STRING, text STRING, sentiment STRING');

CREATE OR REFRESH STREAMING TABLE silver (
  CONSTRAINT valid_timestamp EXPECT (`timestamp` IS NOT NULL),
  CONSTRAINT has_text EXPECT (cleaned_text <> ''),
  CONSTRAINT known_label EXPECT (sentiment IN ('negative', 'neutral', 'positive'))
)
COMMENT 'One row per tweet and mentioned account: a tweet that mentions two appears twice, one that mentions nobody not at all'
AS SELECT
  -- 'Mon Apr 06 22:19:45 PDT 2009': the weekday says nothing new, and STR_TO_DATE knows no zones. So the text is parsed
  -- without both, and the zone's hours are added, because every time in smelt is UTC. The COALESCE turns a missing date
  -- into an unreadable one, which is NULL.
  DATE_ADD(
    STR_TO_DATE(COALESCE(CONCAT(SUBSTRING(date, 5, 16), SUBSTRING_INDEX(date, ' ', -1)), ''), '%b %d %H:%i:%s %Y'),
    INTERVAL CASE SUBSTRING_INDEX(SUBSTRING_INDEX(date, ' ', 5), ' ', -1)
      WHEN 'EDT' THEN 4 WHEN 'EST' THEN 5
      WHEN 'CDT' THEN 5 WHEN 'CST' THEN 6
      WHEN 'MDT' THEN 6 WHEN 'MST' THEN 7
      WHEN 'PDT' THEN 7 WHEN 'PST' THEN 8
      ELSE 0 END HOUR) AS `timestamp`,
  mention,
  -- Links and names carry no opinion. \B before the @ leaves mail addresses whole. Entities are undone after that, &amp;
  -- last, or '&amp;lt;' would be undone twice. Upper case stays: it is read by people, and models fold it themselves.
  TRIM(REGEXP_REPLACE(
    REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
      REGEXP_REPLACE(text, 'https?://\\S+|\\bRT @\\w+:|\\B[@＠]\\w+', ' '),
      '&lt;', '<'), '&gt;', '>'), '&quot;', '"'), '&#39;', ''''), '&amp;', '&'),
    '\\s+', ' ')) AS cleaned_text,
  sentiment
FROM STREAM(bronze), JSON_TABLE(mentions(text), '$[*]' COLUMNS (mention VARCHAR(255) PATH '$')) m;

CREATE OR REFRESH STREAMING TABLE gold (
  CONSTRAINT confident EXPECT (predicted_score >= 50)
)
COMMENT 'Silver with the predicted sentiment: score is its probability in percent, the ids are 0 negative, 1 neutral, 2 positive'
AS SELECT
  `timestamp`, mention, cleaned_text, sentiment,
  100 * sentiment_score(cleaned_text) AS predicted_score,
  sentiment(cleaned_text) AS predicted_sentiment,
  -- Evaluation tools want numbers, so label and prediction have the same ids.
  CASE sentiment
    WHEN 'negative' THEN 0 WHEN 'neutral' THEN 1 WHEN 'positive' THEN 2 END AS sentiment_id,
  CASE sentiment(cleaned_text)
    WHEN 'negative' THEN 0 WHEN 'neutral' THEN 1 WHEN 'positive' THEN 2 END AS predicted_sentiment_id
FROM STREAM(silver);

CREATE OR REFRESH MATERIALIZED VIEW app
COMMENT 'What a dashboard shows, one row per mentioned account: how many tweets were predicted negative, neutral and positive, and when'
AS SELECT
  mention,
  MIN(`timestamp`) AS min_timestamp,
  MAX(`timestamp`) AS max_timestamp,
  COUNT(CASE WHEN predicted_sentiment = 'negative' THEN 1 END) AS negative,
  COUNT(CASE WHEN predicted_sentiment = 'neutral' THEN 1 END) AS neutral,
  COUNT(CASE WHEN predicted_sentiment = 'positive' THEN 1 END) AS positive,
  COUNT(*) AS total
FROM gold
GROUP BY mention;
