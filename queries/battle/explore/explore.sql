-- Questions to the tables of the battle pipeline, one for each picture of a dashboard.

-- Which side is talked about more, day by day?
SELECT day, side, tweets, impressions FROM battle_daily ORDER BY day, side;

-- What do people say today?
SELECT side, created_at, text FROM battle_today ORDER BY created_at DESC;

-- Which tweets were seen most?
SELECT side, position, impressions, text FROM battle_top_tweets ORDER BY side, position;

-- The word cloud of each side: the 30 heaviest words.
SELECT entity, weight, tweets FROM battle_word_cloud WHERE side = 'databricks' ORDER BY weight DESC, entity LIMIT 30;
SELECT entity, weight, tweets FROM battle_word_cloud WHERE side = 'snowflake' ORDER BY weight DESC, entity LIMIT 30;

-- What is talked about, in percent of each side?
SELECT side, category, tweets, ROUND(share, 1) AS percent FROM battle_categories ORDER BY side, tweets DESC, category;

-- Which general topics does each category fall into?
SELECT category, topic, COUNT(*) AS tweets
FROM battle_predictions
GROUP BY category, topic
ORDER BY category, tweets DESC, topic;

-- Is the training set balanced?
SELECT label, COUNT(*) AS texts FROM battle_labels GROUP BY label ORDER BY texts DESC, label;

-- How many copies and older versions were left out?
SELECT (SELECT COUNT(*) FROM battle_databricks) + (SELECT COUNT(*) FROM battle_snowflake) AS received,
       (SELECT COUNT(*) FROM battle_tweets) AS tweets,
       (SELECT COUNT(*) FROM battle_tweets WHERE edited) AS edited;
