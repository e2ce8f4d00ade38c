package models

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/models/modeltest"
)

// slow makes an export of modeltest.Slow.
func slow(t testing.TB, hidden, layers int) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range modeltest.Slow(hidden, layers) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}

// TestAKillEndsABatchAtOnce stops batches of which a single operation takes longer than a KILL may. The aim is 50 ms; the bound
// is for a machine that does other things, and would not be met by who waits for the operation.
func TestAKillEndsABatchAtOnce(t *testing.T) {
	r := openOn(t, newDisk())
	m := made(t, r, "slow", map[string]string{"source": slow(t, 768, 2)})
	require.False(t, m.settings.Single, "it runs in batches")
	text := strings.Repeat("good the bad ", modeltest.MaxTokens/3)
	alone, err := r.Classify(t.Context(), "slow", []string{"good", text[:100]})
	require.NoError(t, err)
	texts := slices.Repeat([]string{text}, 4*batchRows)
	var took []time.Duration
	for range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		killed := make(chan time.Time, 1)
		time.AfterFunc(100*time.Millisecond, func() { killed <- time.Now(); cancel() })
		_, err := r.Classify(ctx, "slow", texts)
		took = append(took, time.Since(<-killed))
		require.ErrorIs(t, err, context.Canceled)
	}
	t.Logf("stopped after %v", took)
	require.Less(t, slices.Min(took), 250*time.Millisecond)
	// What nobody waited for does no harm: others are served, and the end waits for it.
	again, err := r.Classify(t.Context(), "slow", []string{"good", text[:100]})
	require.NoError(t, err)
	require.Equal(t, alone, again)
	require.NoError(t, r.Close())
}

// TestAPanicIsAnError of whoever asked, and of no one else.
func TestAPanicIsAnError(t *testing.T) {
	r := openOn(t, newDisk())
	m := made(t, r, "m", map[string]string{"source": "builtin:sentiment"})
	prepare := m.prepare
	m.prepare = func(text string) string {
		if text == "bad" {
			panic("secret")
		}
		return prepare(text)
	}
	_, err := r.Classify(t.Context(), "m", []string{"good", "bad"})
	require.ErrorContains(t, err, "internal error")
	_, err = r.Classify(t.Context(), "m", []string{"good"})
	require.NoError(t, err)
}
