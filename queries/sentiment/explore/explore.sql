-- Questions to the tables of the sentiment pipeline. Not part of it: only the .sql files directly in queries/sentiment are.

-- How many rows does each table hold?
SELECT 'bronze' AS name, COUNT(*) AS row_count FROM bronze
UNION ALL SELECT 'silver', COUNT(*) FROM silver
UNION ALL SELECT 'gold', COUNT(*) FROM gold
UNION ALL SELECT 'app', COUNT(*) FROM app;

-- How many values are missing in each column of bronze? COUNT(x) counts what is not NULL.
SELECT COUNT(*) - COUNT(date) AS date_nulls,
       COUNT(*) - COUNT(user) AS user_nulls,
       COUNT(*) - COUNT(text) AS text_nulls,
       COUNT(*) - COUNT(sentiment) AS sentiment_nulls,
       COUNT(*) - COUNT(source_file) AS source_file_nulls,
       COUNT(*) - COUNT(processing_time) AS processing_time_nulls
FROM bronze;

-- Who tweets most?
SELECT user, COUNT(*) AS tweets
FROM bronze
GROUP BY user
ORDER BY tweets DESC, user
LIMIT 20;

-- How many tweets mention somebody, and how many nobody?
SELECT CASE WHEN JSON_LENGTH(mentions(text)) > 0 THEN 'with a mention' ELSE 'without' END AS kind, COUNT(*) AS tweets
FROM bronze
GROUP BY kind
ORDER BY kind;

-- The 20 accounts with the most positive tweets.
SELECT mention, positive, neutral, negative, total, ROUND(100 * positive / total, 1) AS positive_percent
FROM app
ORDER BY positive DESC, positive_percent DESC, mention
LIMIT 20;

-- The 20 accounts with the most negative tweets.
SELECT mention, negative, neutral, positive, total, ROUND(100 * negative / total, 1) AS negative_percent
FROM app
ORDER BY negative DESC, negative_percent DESC, mention
LIMIT 20;

-- How good is the model? The confusion matrix: a row is what people said, a column what the model says.
SELECT sentiment AS labelled,
       SUM(predicted_sentiment = 'negative') AS predicted_negative,
       SUM(predicted_sentiment = 'neutral') AS predicted_neutral,
       SUM(predicted_sentiment = 'positive') AS predicted_positive,
       COUNT(*) AS total
FROM gold
WHERE sentiment IS NOT NULL
GROUP BY sentiment
ORDER BY sentiment;

-- Precision, recall and F1 of each class. Every class is counted even if it is never predicted; NULL is 'undefined'.
WITH classes AS (
  SELECT 'negative' AS class UNION ALL SELECT 'neutral' UNION ALL SELECT 'positive'
), hits AS (
  SELECT class,
         SUM(sentiment = class AND predicted_sentiment = class) AS right_ones,
         SUM(predicted_sentiment = class) AS predicted,
         SUM(sentiment = class) AS labelled
  FROM classes CROSS JOIN gold
  WHERE sentiment IS NOT NULL
  GROUP BY class
)
SELECT class, labelled,
       ROUND(right_ones / NULLIF(predicted, 0), 4) AS `precision`,
       ROUND(right_ones / NULLIF(labelled, 0), 4) AS recall,
       ROUND(2 * right_ones / NULLIF(predicted + labelled, 0), 4) AS f1
FROM hits
ORDER BY class;

-- One figure each: accuracy, and the mean recall of the classes, which the rare classes weigh on as much as the frequent one.
SELECT ROUND(AVG(sentiment = predicted_sentiment), 4) AS accuracy,
       ROUND((SUM(sentiment = 'negative' AND predicted_sentiment = 'negative') / NULLIF(SUM(sentiment = 'negative'), 0)
            + SUM(sentiment = 'neutral' AND predicted_sentiment = 'neutral') / NULLIF(SUM(sentiment = 'neutral'), 0)
            + SUM(sentiment = 'positive' AND predicted_sentiment = 'positive') / NULLIF(SUM(sentiment = 'positive'), 0)) / 3, 4) AS macro_recall
FROM gold
WHERE sentiment IS NOT NULL;

-- Where is the model sure and wrong? The first place to look for bad labels and for irony.
SELECT ROUND(predicted_score, 1) AS score, sentiment, predicted_sentiment, cleaned_text
FROM gold
WHERE sentiment <> predicted_sentiment
ORDER BY predicted_score DESC
LIMIT 10;
