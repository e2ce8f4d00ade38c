package status

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// textBatch makes a batch of texts.
func textBatch(columns int, rows ...string) *tables.Batch {
	b := tables.NewBatch(nil, 0)
	for i := range columns {
		b.Schema = append(b.Schema, tables.Field{Name: string(rune('a' + i)), Type: tables.Type{Kind: tables.String}})
	}
	b.Columns = make([]tables.Column, columns)
	for _, r := range rows {
		for i, text := range strings.SplitN(r, "|", columns) {
			b.Columns[i].AppendString(text)
		}
		b.Len++
	}
	return b
}

func TestGraphStandsFromLeftToRight(t *testing.T) {
	s := newServer(Config{Query: func(_ context.Context, sql string) (*tables.Batch, error) {
		if strings.Contains(sql, "smelt.streams") {
			return textBatch(3, "live.gold|failed|7"), nil
		}
		return textBatch(4,
			"path|/in/tweets|streaming_table|live.bronze",
			"streaming_table|live.bronze|streaming_table|live.gold",
			"model|sentiment|streaming_table|live.gold",
			"streaming_table|live.gold|materialized_view|live.app",
			"streaming_table|live.bronze|materialized_view|live.app",
			"table|live.x|view|live.y",
			"model|sentiment|view|live.y"), nil
	}})
	p, err := s.graph(t.Context())
	require.NoError(t, err)
	at := map[string]*node{}
	taken := map[[2]int]string{}
	for _, n := range p.Nodes {
		at[n.Label] = n
		require.Empty(t, taken[[2]int{n.X, n.Y}], n.Label)
		taken[[2]int{n.X, n.Y}] = n.Label
		require.LessOrEqual(t, n.X+nodeWidth, p.Width)
		require.LessOrEqual(t, n.Y+nodeHeight, p.Height)
		for _, to := range n.to {
			require.Equal(t, n.column+1, to.column, "no edge passes under a box")
			require.Less(t, n.X, to.X, "%s is used for %s", n.Name, to.Name)
		}
	}
	require.Len(t, p.Nodes, 8, "the model stands in both pipelines")
	require.Len(t, p.Edges, 7)
	require.True(t, at["gold"].Bad())
	require.Equal(t, "7", at["gold"].Rows)
	require.Less(t, at["app"].Y, at["y"].Y, "pipelines stand one below the other")

	handler, err := s.handler()
	require.NoError(t, err)
	page := httptest.NewRecorder()
	s.loopback = true
	handler.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Contains(t, page.Body.String(), `<g class="streaming_table bad"`)
	require.Contains(t, page.Body.String(), "/in/tweets", "the whole name is told to the mouse")
	json := httptest.NewRecorder()
	handler.ServeHTTP(json, httptest.NewRequest(http.MethodGet, "/json/lineage", nil))
	require.Contains(t, json.Body.String(), `"b":"/in/tweets"`)
}
