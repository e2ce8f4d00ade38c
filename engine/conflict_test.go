package engine

import (
	"sync"
	"testing"

	"github.com/dolthub/vitess/go/sqltypes"
	"github.com/stretchr/testify/require"
)

// TestUpdatesOfTheSameRowsWaitForOneAnother has clients count in the same rows: none is told to try again, none is lost.
func TestUpdatesOfTheSameRowsWaitForOneAnother(t *testing.T) {
	const clients, each = 4, 10
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE c (id BIGINT, n BIGINT)", "INSERT INTO c VALUES (1, 0), (2, 0)")
	var all sync.WaitGroup
	failed := make(chan error, clients*each)
	for range clients {
		all.Go(func() {
			db := s.open(t, "", "", "")
			for range each {
				if _, err := db.Exec("UPDATE c SET n = n + ?", 1); err != nil {
					failed <- err
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	require.Equal(t, "id | n\n1 | 40\n2 | 40\n", runStatement(t.Context(), s.db, "SELECT * FROM c ORDER BY id", false))
}

// TestShortWordsOfAnOKAreLeftOut is PREPARE in MariaDB's client, which ended with "malformed packet".
func TestShortWordsOfAnOKAreLeftOut(t *testing.T) {
	for info, want := range map[string]string{"Statement prepared": "", "Rows matched: 0  Changed: 0  Warnings: 0": "Rows matched: 0  Changed: 0  Warnings: 0"} {
		var got string
		require.NoError(t, typed(func(r *sqltypes.Result, _ bool) error { got = r.Info; return nil })(&sqltypes.Result{Info: info}, false))
		require.Equal(t, want, got)
	}
}
