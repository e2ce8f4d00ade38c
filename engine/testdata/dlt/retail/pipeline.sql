-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Orders of a shop
-- MAGIC Bronze, silver and gold from files; customers from a feed of changes; it's all SQL.

-- COMMAND ----------

SET pipelines.trigger.interval = '10 seconds';

-- COMMAND ----------

CREATE OR REFRESH STREAMING LIVE TABLE orders_bronze
COMMENT "The raw orders, ingested from the landing directory"
TBLPROPERTIES ("quality" = "bronze", "pipelines.autoOptimize.managed" = "true")
AS SELECT *, current_timestamp() AS processed_at, _metadata.file_path AS source_path
FROM cloud_files("landing/orders", "json", map("cloudFiles.inferColumnTypes", "true", "cloudFiles.schemaHints", "order_id INT, items JSON"))

-- COMMAND ----------

CREATE OR REFRESH STREAMING LIVE TABLE orders_cleaned (
  CONSTRAINT valid_order_id EXPECT (order_id IS NOT NULL) ON VIOLATION DROP ROW,
  CONSTRAINT `known customer` EXPECT (customer_id IS NOT NULL) ON VIOLATION DROP ROW,
  CONSTRAINT "amount is positive" EXPECT (amount > 0)
)
PARTITIONED BY (order_date)
COMMENT "Orders with clean columns, one row per order"
TBLPROPERTIES ("quality" = "silver")
AS SELECT order_id, customer_id, to_date(order_time) AS order_date, to_timestamp(order_time) AS order_time,
          CAST(amount AS DOUBLE) AS amount, size(items) AS items_count, shipping.city AS city, shipping.geo.lat::double AS lat
   FROM STREAM(LIVE.orders_bronze)

-- COMMAND ----------

CREATE STREAMING LIVE TABLE order_lines
AS SELECT order_id, item.sku AS sku, item.qty::int AS qty, CAST(item.price AS DECIMAL(10,2)) AS price
FROM STREAM(LIVE.orders_bronze) LATERAL VIEW explode(items) i AS item
WHERE order_id IS NOT NULL;

-- COMMAND ----------

CREATE TEMPORARY STREAMING LIVE VIEW customer_changes
COMMENT "changes of customers, decoded"
AS SELECT CAST(payload.id AS BIGINT) AS id, payload.name, payload.state, op, seq
FROM STREAM(LIVE.customers_raw);

-- COMMAND ----------

CREATE STREAMING LIVE TABLE customers_raw
AS SELECT op, seq, payload FROM cloud_files("landing/customers", "json", map("cloudFiles.schemaHints", "op STRING, seq BIGINT, payload JSON"));

-- COMMAND ----------

CREATE OR REFRESH STREAMING LIVE TABLE customers;

APPLY CHANGES INTO LIVE.customers
FROM STREAM(LIVE.customer_changes)
KEYS (id)
APPLY AS DELETE WHEN op = "DELETE"
SEQUENCE BY seq
COLUMNS * EXCEPT (op, seq)
STORED AS SCD TYPE 1;

-- COMMAND ----------

CREATE LIVE VIEW big_orders AS SELECT * FROM LIVE.orders_cleaned WHERE amount >= 100;

-- COMMAND ----------

CREATE LIVE TABLE sales_by_state
COMMENT "What is sold where"
TBLPROPERTIES ("quality" = "gold")
AS SELECT c.state, count(*) AS orders, sum(o.amount) AS amount, count_if(o.amount >= 100) AS big
FROM LIVE.orders_cleaned o JOIN LIVE.customers c ON o.customer_id == c.id
GROUP BY ALL;

-- COMMAND ----------

CREATE MATERIALIZED VIEW big_order_days AS SELECT order_date, COUNT(*) AS n FROM LIVE.big_orders GROUP BY order_date
