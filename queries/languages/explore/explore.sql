-- Questions to the tables of the languages pipeline.

-- Which languages are spoken, most frequent first?
SELECT position, lang, tweets, ROUND(share, 1) AS percent FROM languages_ranked ORDER BY position;

-- How many rows arrived, and how many are English and have an id?
SELECT (SELECT COUNT(*) FROM languages_raw) AS received, (SELECT COUNT(*) FROM languages_silver) AS kept;

-- Which rows have lost their id?
SELECT lang, created_at, text FROM languages_raw WHERE id_str = '' OR id_str IS NULL;

-- From which cities do people write? The field is nested and often null.
SELECT JSON_UNQUOTE(JSON_EXTRACT(place, '$.name')) AS city, COUNT(*) AS tweets
FROM languages_raw
WHERE JSON_EXTRACT(place, '$.name') IS NOT NULL
GROUP BY city
ORDER BY tweets DESC, city;

-- Which English tweets travelled furthest?
SELECT user_name, followers, retweet_count, text
FROM languages_silver
ORDER BY retweet_count DESC, favorite_count DESC, id
LIMIT 10;
