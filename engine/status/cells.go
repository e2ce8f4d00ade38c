package status

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smelt/tables"
)

// timeLayout shows times to the millisecond, in UTC.
const timeLayout = "2006-01-02 15:04:05.000"

// cells renders the first maxRows rows of a batch as text; a null is an empty cell.
func cells(b *tables.Batch) [][]string {
	n := min(b.Len, maxRows)
	rows := make([][]string, n)
	for r := range rows {
		rows[r] = make([]string, len(b.Columns))
		for c := range b.Columns {
			rows[r][c] = cell(b, c, r)
		}
	}
	return rows
}

func cell(b *tables.Batch, c, r int) string {
	column := &b.Columns[c]
	if column.Null(r) {
		return ""
	}
	switch b.Schema[c].Type.Kind {
	case tables.Boolean:
		return strconv.FormatBool(column.Bools[r])
	case tables.Float, tables.Double:
		return strconv.FormatFloat(column.Floats[r], 'g', 6, 64)
	case tables.String, tables.Binary, tables.JSON:
		return column.Strings[r]
	case tables.Decimal:
		return column.Decimals[r].Big().String()
	case tables.Timestamp:
		return time.UnixMicro(column.Ints[r]).UTC().Format(timeLayout)
	default:
		return strconv.FormatInt(column.Ints[r], 10)
	}
}

// objects renders the first maxRows rows of a batch as JSON objects; a null is left out.
func objects(b *tables.Batch) []map[string]any {
	n := min(b.Len, maxRows)
	out := make([]map[string]any, n)
	for r := range out {
		out[r] = make(map[string]any, len(b.Columns))
		for c, f := range b.Schema {
			column := &b.Columns[c]
			if column.Null(r) {
				continue
			}
			switch f.Type.Kind {
			case tables.Byte, tables.Short, tables.Integer, tables.Long:
				out[r][f.Name] = column.Ints[r]
			case tables.Float, tables.Double:
				out[r][f.Name] = column.Floats[r]
			case tables.Boolean:
				out[r][f.Name] = column.Bools[r]
			default:
				out[r][f.Name] = cell(b, c, r)
			}
		}
	}
	return out
}

// flowCollector reads smelt.streams at each scrape, so that metrics and SQL cannot disagree.
type flowCollector struct{ s *Server }

var (
	flowRows = prometheus.NewDesc("smelt_table_rows", "Rows of the table now.", []string{"database", "table"}, nil)
	flowLag  = prometheus.NewDesc("smelt_flow_lag_seconds", "Age of the oldest source change that the table does not show yet.", []string{"database", "table"}, nil)
	flowUp   = prometheus.NewDesc("smelt_flow_up", "1 while the flow runs or waits, 0 when it failed or retries.", []string{"database", "table"}, nil)
)

// Describe implements prometheus.Collector.
func (f flowCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- flowRows
	ch <- flowLag
	ch <- flowUp
}

// Collect implements prometheus.Collector. A failed query yields no samples, which an alert on absence sees.
func (f flowCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	const sql = "SELECT `database`, `table`, CAST(table_rows AS DOUBLE) AS table_rows, CAST(lag_seconds AS DOUBLE) AS lag_seconds," +
		" CAST(state NOT IN ('failed', 'retrying') AS DOUBLE) AS up FROM smelt.streams"
	batch, err := f.s.cfg.Query(ctx, sql)
	if err != nil {
		f.s.cfg.Logger.Warn("collect flow metrics", "err", err)
		return
	}
	for r := range batch.Len {
		labels := []string{cell(batch, 0, r), cell(batch, 1, r)}
		for i, desc := range []*prometheus.Desc{flowRows, flowLag, flowUp} {
			column := &batch.Columns[2+i]
			if !column.Null(r) {
				ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, column.Floats[r], labels...)
			}
		}
	}
}
