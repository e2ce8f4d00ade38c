CREATE STREAMING LIVE TABLE tweets_raw COMMENT 'tweets of the v1.1 API'
AS SELECT * FROM cloud_files('raw', 'json', map('cloudFiles.schemaHints', 'id STRING, lang STRING, user JSON, entities JSON, created_at STRING, retweeted_status JSON'));

CREATE STREAMING LIVE TABLE tweets_silver (
  CONSTRAINT valid_language EXPECT (lang == "en") ON VIOLATION DROP ROW,
  CONSTRAINT valid_id EXPECT (id != "") ON VIOLATION DROP ROW
)
COMMENT 'clean english tweets'
AS SELECT id, to_timestamp(substring(created_at, 5), 'MMM dd HH:mm:ss Z yyyy') AS created_at, lang, user.screen_name, user.followers_count::int AS followers,
  entities.hashtags[0].text AS first_tag, array_join(from_json(entities.urls, 'ARRAY<STRING>'), ' ') AS urls,
  retweeted_status.id IS NOT NULL AS is_retweet, retweeted_status.id AS retweet_of,
  CASE WHEN user.verified THEN 'yes' ELSE 'no' END AS verified
FROM STREAM(LIVE.tweets_raw);

CREATE LIVE TABLE languages
AS SELECT lang, count(*) AS count FROM LIVE.tweets_raw GROUP BY lang ORDER BY count DESC;

CREATE LIVE TABLE most_followed
AS SELECT user.screen_name AS name, max(user.followers_count) AS followers
FROM LIVE.tweets_raw GROUP BY user.screen_name;
