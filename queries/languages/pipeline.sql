-- Which languages does a stream speak? Whole Twitter v1.1 objects, about 40 fields of which many hold others.

CREATE OR REFRESH STREAMING TABLE languages_raw
COMMENT 'Tweets as the v1.1 API gave them: one column per field, nested fields as JSON'
AS SELECT *, source_file, processing_time
-- Every field is named here, because most are null in most tweets, and from nulls alone no type can be inferred.
FROM STREAM read_files('statuses', format => 'json', schemaHints => 'created_at STRING, id BIGINT, id_str STRING, text STRING, display_text_range JSON, truncated BOOLEAN, entities JSON, extended_entities JSON, metadata JSON, source STRING, in_reply_to_status_id BIGINT, in_reply_to_status_id_str STRING, in_reply_to_user_id BIGINT, in_reply_to_user_id_str STRING, in_reply_to_screen_name STRING, user JSON, geo JSON, coordinates JSON, place JSON, contributors JSON, is_quote_status BOOLEAN, quoted_status_id BIGINT, quoted_status_id_str STRING, quoted_status JSON, retweeted_status JSON, quote_count BIGINT, reply_count BIGINT, retweet_count BIGINT, favorite_count BIGINT, favorited BOOLEAN, retweeted BOOLEAN, possibly_sensitive BOOLEAN, filter_level STRING, withheld_copyright BOOLEAN, withheld_in_countries JSON, withheld_scope STRING, scopes JSON, card_uri STRING, lang STRING, timestamp_ms STRING');

-- The models are English, so only English tweets go on; a tweet without an id cannot be found again at its source.
CREATE OR REFRESH STREAMING TABLE languages_silver (
  CONSTRAINT valid_language EXPECT (lang = 'en') ON VIOLATION DROP ROW,
  CONSTRAINT valid_id EXPECT (id <> '') ON VIOLATION DROP ROW
)
COMMENT 'English tweets that have an id, with the fields that people ask for; times are UTC'
AS SELECT
  -- The text form: as a JSON number an id does not survive clients that compute in doubles.
  id_str AS id,
  -- 'Mon Apr 06 22:19:45 +0000 2009': v1.1 always writes +0000, so the zone is left out.
  STR_TO_DATE(COALESCE(CONCAT(SUBSTRING(created_at, 5, 16), SUBSTRING_INDEX(created_at, ' ', -1)), ''), '%b %d %H:%i:%s %Y') AS created_at,
  lang,
  text,
  JSON_UNQUOTE(JSON_EXTRACT(user, '$.screen_name')) AS user_name,
  CAST(JSON_EXTRACT(user, '$.followers_count') AS SIGNED) AS followers,
  retweet_count,
  favorite_count,
  hashtags(text) AS hashtags
FROM STREAM(languages_raw);

-- Counted on languages_raw: in languages_silver only one language is left.
CREATE OR REFRESH MATERIALIZED VIEW languages
COMMENT 'Tweets per language, as the API names it (ISO 639-1, und for unknown)'
AS SELECT lang, COUNT(*) AS tweets
FROM languages_raw
GROUP BY lang;

-- A table has no order, so the rank is a column.
CREATE OR REFRESH MATERIALIZED VIEW languages_ranked
COMMENT 'Languages by number of tweets: position 1 is the most frequent, share is in percent of all tweets'
AS SELECT
  ROW_NUMBER() OVER (ORDER BY tweets DESC, lang) AS position,
  lang,
  tweets,
  -- 100e0 and not 100: whole numbers would divide into a decimal of four digits.
  100e0 * tweets / (SELECT SUM(tweets) FROM languages) AS share
FROM languages;
