-- Which data platform is talked about, by how many, and about what? Two directories of Twitter API v2 answers, one for
-- each side, become one table of tweets, its predictions and keywords, and the tables that a dashboard reads.

CREATE OR REFRESH STREAMING TABLE battle_databricks (
  CONSTRAINT has_text EXPECT (text <> '')
)
COMMENT 'Tweets found by the search for databricks, as the API gave them: edited tweets appear in every version, and some twice'
AS SELECT *, source_file, processing_time
FROM STREAM read_files('databricks', format => 'json',
  schemaHints => 'id STRING, text STRING, created_at STRING, author_id STRING, lang STRING, edit_history_tweet_ids JSON, public_metrics JSON');

CREATE OR REFRESH STREAMING TABLE battle_snowflake (
  CONSTRAINT has_text EXPECT (text <> '')
)
COMMENT 'Tweets found by the search for snowflake, as the API gave them: edited tweets appear in every version, and some twice'
AS SELECT *, source_file, processing_time
FROM STREAM read_files('snowflake', format => 'json',
  schemaHints => 'id STRING, text STRING, created_at STRING, author_id STRING, lang STRING, edit_history_tweet_ids JSON, public_metrics JSON');

-- A wrong label makes every later prediction worse without a sound, so a bad row stops this table until it is mended.
CREATE OR REFRESH STREAMING TABLE battle_labels (
  CONSTRAINT labelled EXPECT (text <> '' AND label <> '') ON VIOLATION FAIL UPDATE
)
COMMENT 'Short texts labelled by hand with one of eleven categories: what the category of a tweet is learned from'
AS SELECT text, label
FROM STREAM read_files('labels', format => 'json', schemaHints => 'text STRING, label STRING');

CREATE OR REFRESH STREAMING TABLE battle_versions
COMMENT 'Every version of every tweet as often as it came, of both sides; pk_id is the id of the first version, times are UTC'
AS SELECT
  COALESCE(JSON_UNQUOTE(JSON_EXTRACT(edit_history_tweet_ids, '$[0]')), id) AS pk_id, id, side,
  -- The API writes '2023-01-12T18:04:05.000Z'. The milliseconds are always zero, and Z is UTC.
  STR_TO_DATE(SUBSTRING(COALESCE(created_at, ''), 1, 19), '%Y-%m-%dT%H:%i:%s') AS created_at,
  CAST(STR_TO_DATE(SUBSTRING(COALESCE(created_at, ''), 1, 10), '%Y-%m-%d') AS DATE) AS day,
  author_id, lang, text,
  id <> COALESCE(JSON_UNQUOTE(JSON_EXTRACT(edit_history_tweet_ids, '$[0]')), id) AS edited,
  -- Answers of before December 2022 have no impressions: those are unknown, hence NULL and not 0.
  CAST(JSON_EXTRACT(public_metrics, '$.retweet_count') AS SIGNED) AS retweets,
  CAST(JSON_EXTRACT(public_metrics, '$.reply_count') AS SIGNED) AS replies,
  CAST(JSON_EXTRACT(public_metrics, '$.like_count') AS SIGNED) AS likes,
  CAST(JSON_EXTRACT(public_metrics, '$.quote_count') AS SIGNED) AS quotes,
  CAST(JSON_EXTRACT(public_metrics, '$.impression_count') AS SIGNED) AS impressions,
  source_file, processing_time
FROM (
  SELECT 'databricks' AS side, id, text, created_at, author_id, lang, edit_history_tweet_ids, public_metrics, source_file, processing_time
  FROM STREAM(battle_databricks)
  UNION ALL
  SELECT 'snowflake', id, text, created_at, author_id, lang, edit_history_tweet_ids, public_metrics, source_file, processing_time
  FROM STREAM(battle_snowflake)
) received;

CREATE OR REFRESH STREAMING TABLE battle_tweets
COMMENT 'One row per tweet in its newest version; pk_id is the id of the first version and never changes, times are UTC';

-- Ids grow with time, so the greatest is the newest text. Of two copies the one read last has the fresher metrics; the file
-- only makes the choice the same in every refresh.
APPLY CHANGES INTO battle_tweets FROM STREAM(battle_versions)
KEYS (pk_id)
SEQUENCE BY STRUCT(CAST(id AS SIGNED), processing_time, source_file)
COLUMNS * EXCEPT (source_file, processing_time)
STORED AS SCD TYPE 1;

-- Once the labels are there it learns, and again when there are more; what asks it is then computed anew. Half of a minute
-- between two lessons, because each of them has all tweets scored again.
CREATE OR REPLACE MODEL battle_category OPTIONS (encoder = 'encoder', promote = 'always')
COMMENT 'Category of a tweet about data platforms, one of eleven'
TRIGGER ON UPDATE AT MOST EVERY INTERVAL 30 SECONDS
AS SELECT text, label FROM battle_labels;

CREATE OR REFRESH MATERIALIZED VIEW battle_predictions
COMMENT 'One row per tweet with its general topic, all topics that fit, and its category; category_score is its probability, 0 to 1'
AS SELECT
  pk_id, side, day, created_at, text,
  topic(text) AS topic,
  topics(text) AS topics,
  battle_category(text) AS category,
  battle_category_score(text) AS category_score
FROM battle_tweets;

CREATE OR REFRESH MATERIALIZED VIEW battle_keywords
COMMENT 'One row per tweet and keyword or phrase found in it; score says how well it stands for the whole tweet, 0 to 1'
AS SELECT t.pk_id, t.side, t.day, LOWER(k.entity) AS entity, k.score
FROM battle_tweets t,
  JSON_TABLE(keywords(t.text, 5, 2), '$[*]' COLUMNS (entity VARCHAR(255) PATH '$.keyword', score DOUBLE PATH '$.score')) k
-- The words that were searched for stand in every tweet and say nothing.
WHERE LOWER(k.entity) NOT IN ('databricks', 'snowflake');

-- From here on: what a dashboard asks, one table per picture, so that the tool only has to SELECT.

CREATE OR REFRESH MATERIALIZED VIEW battle_daily
COMMENT 'Line chart: tweets, likes and impressions a day (UTC) by side'
AS SELECT day, side, COUNT(*) AS tweets, SUM(likes) AS likes, SUM(impressions) AS impressions
FROM battle_tweets
GROUP BY day, side;

-- Today is the day of the newest tweet and not of the clock: a stream that was replayed or is late still shows something.
CREATE OR REFRESH MATERIALIZED VIEW battle_today
COMMENT 'List: the tweets of the newest day that has any'
AS SELECT pk_id, side, created_at, text, likes, retweets, impressions
FROM battle_tweets
WHERE day = (SELECT MAX(day) FROM battle_tweets);

CREATE OR REFRESH MATERIALIZED VIEW battle_top_tweets
COMMENT 'List: the ten tweets of each side that were seen most; position 1 is the most seen'
AS SELECT side, position, pk_id, created_at, text, impressions, likes
FROM (
  SELECT side, pk_id, created_at, text, impressions, likes,
    ROW_NUMBER() OVER (PARTITION BY side ORDER BY impressions DESC, pk_id) AS position
  FROM battle_tweets
) seen
WHERE position <= 10;

CREATE OR REFRESH MATERIALIZED VIEW battle_word_cloud
COMMENT 'Word cloud: weight is the sum of the scores of a keyword over all tweets of a side, tweets how many have it'
AS SELECT side, entity, SUM(score) AS weight, COUNT(*) AS tweets
FROM battle_keywords
GROUP BY side, entity;

CREATE OR REFRESH MATERIALIZED VIEW battle_categories
COMMENT 'Pie chart: tweets of each side by category; share is in percent of the side'
-- 100e0 and not 100: whole numbers would divide into a decimal of four digits.
AS SELECT c.side, c.category, c.tweets, 100e0 * c.tweets / s.tweets AS share
FROM (SELECT side, category, COUNT(*) AS tweets FROM battle_predictions GROUP BY side, category) c
JOIN (SELECT side, COUNT(*) AS tweets FROM battle_predictions GROUP BY side) s ON s.side = c.side;
