-- Databricks notebook source
-- MAGIC %md-sandbox Loans, streamed

-- COMMAND ----------

CREATE STREAMING LIVE TABLE raw_txs
  COMMENT "New raw loan data incrementally ingested from the landing zone"
AS SELECT * FROM cloud_files("landing", "json", map("cloudFiles.inferColumnTypes", "true"))

-- COMMAND ----------

CREATE STREAMING LIVE TABLE treatments
  COMMENT "Lookup mapping for accounting codes"
AS SELECT * FROM cloud_files("reference", "csv", map("header", "true", "cloudFiles.schemaHints", "id INT"))

-- COMMAND ----------

CREATE STREAMING LIVE TABLE cleaned_new_txs (
  CONSTRAINT `Payments should be this year`  EXPECT (next_payment_date > date('2020-12-31')),
  CONSTRAINT `Balance should be positive`    EXPECT (balance > 0 AND arrears_balance > 0) ON VIOLATION DROP ROW,
  CONSTRAINT `Cost center must be specified` EXPECT (cost_center_code IS NOT NULL) ON VIOLATION FAIL UPDATE
)
  COMMENT "Livestream of new transactions, cleaned and compliant"
AS SELECT txs.*, ref.name AS accounting_treatment FROM stream(live.raw_txs) txs
  INNER JOIN live.treatments ref ON txs.accounting_treatment_id = ref.id

-- COMMAND ----------

CREATE LIVE TABLE total_loan_balances
  COMMENT "Combines historical and new loan data for unified rollup of loan balances"
  TBLPROPERTIES ("pipelines.autoOptimize.zOrderCols" = "location_code")
AS SELECT sum(balance) AS bal, country_code AS location_code FROM live.cleaned_new_txs GROUP BY country_code
   UNION ALL SELECT sum(balance), 'all' FROM live.cleaned_new_txs

-- COMMAND ----------

CREATE LIVE TABLE new_loan_balances_by_cost_center
  TBLPROPERTIES ("pipelines.autoOptimize.zOrderCols" = "cost_center_code")
AS SELECT sum(balance) AS sum_balance, cost_center_code FROM live.cleaned_new_txs GROUP BY cost_center_code
