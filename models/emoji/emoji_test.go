package emoji

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func golden(t testing.TB) (g struct {
	Old   string `json:"old_sha256"`
	New   string `json:"new_sha256"`
	Texts [][2]string
}) {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	require.Greater(t, len(g.Texts), 500)
	return g
}

// digest is over all names, so that none can differ.
func digest(names map[string]string) string {
	h := sha256.New()
	for _, text := range slices.Sorted(maps.Keys(names)) {
		h.Write([]byte(text + "\t" + names[text] + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestNamesAreThoseOfPythonsPackage(t *testing.T) {
	g := golden(t)
	names := map[string]string{}
	for r, name := range oldCharacters() {
		names[string(r)] = name
	}
	require.Len(t, names, 1298)
	require.Equal(t, g.Old, digest(names), "of emoji 0.6.0, one character each")
	names = map[string]string{}
	all(func(text, name string, _ float64) { names[text] = name })
	require.Len(t, names, 4733)
	require.Equal(t, g.New, digest(names), "of emoji 2.8.0")
}

func TestTextsAreThoseOfPythonsPackage(t *testing.T) {
	for _, c := range golden(t).Texts {
		require.Equal(t, c[1], Demojize(c[0], "|"), "%+q", c[0])
	}
}

func FuzzDemojizeEnds(f *testing.F) {
	for _, c := range golden(f).Texts[:60] {
		f.Add(c[0])
	}
	f.Fuzz(func(_ *testing.T, text string) { Demojize(text, "|") })
}
