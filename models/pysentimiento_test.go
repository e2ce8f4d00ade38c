package models

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPysentimientosTextsAreThoseOfItsLibrary(t *testing.T) {
	var golden struct {
		Texts   [][2]string
		Airline string `json:"airline_sha256"`
	}
	readJSON(t, filepath.Join("testdata", "pysentimiento.json"), &golden)
	require.Greater(t, len(golden.Texts), 700)
	for _, c := range golden.Texts {
		require.Equal(t, c[1], pysentimiento(c[0]), "%+q", c[0])
	}
	f, err := os.Open(filepath.Join("..", "..", "shared", "data", "dscc", "airline.jsonl"))
	if err != nil {
		t.Skip("skipped: real data is not beside the project (../shared/data)")
	}
	defer f.Close()
	h := sha256.New()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var tweet struct{ Text string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &tweet))
		h.Write([]byte(pysentimiento(tweet.Text) + "\n"))
	}
	require.Equal(t, golden.Airline, hex.EncodeToString(h.Sum(nil)))
}
