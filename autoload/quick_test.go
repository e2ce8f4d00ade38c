package autoload

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

// sameQuick checks that lines which the quick way takes are what the walker makes of them. What it refuses is read by the
// walker anyway.
func sameQuick(t *testing.T, data string) {
	t.Helper()
	load := func(byLines, check bool) (string, error) {
		c := newColumns(nil, nil, Options{Rescued: "_rescued_data"})
		for _, column := range []string{"a", "b", "é"} {
			c = c.with(column, inferred{saw: sawText}, Options{Rescued: "_rescued_data"})
		}
		p := piece{shape: &shape{format: formatJSON, byLines: byLines}, data: []byte(data), first: true, last: true}
		d := newDecoder(c)
		p.shape.check = new(atomic.Bool)
		p.shape.check.Store(check)
		rows, err := d.decode("f", &p, false)
		out := fmt.Sprintln(rows.rows, rows.unknown)
		for _, b := range rows.batches {
			if check {
				break
			}
			for row := range b.Len {
				for i := range b.Columns {
					out += fmt.Sprint(b.Columns[i].Null(row), b.Columns[i].Strings[row], ";")
				}
			}
		}
		return out, err
	}
	for _, check := range []bool{false, true} {
		got, err := load(true, check)
		if err != nil {
			continue // the file is read again without the guess
		}
		want, wantErr := load(false, check)
		require.NoError(t, wantErr, "%q was taken", data)
		require.Equal(t, want, got, "%q", data)
	}
}

func TestTheQuickWayIsTheWalkers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	parts := []string{"{", "}", "[", "]", ",", ":", `"`, `"a"`, `"b":`, `\`, `\n`, `\u00e9`, `\ud800`, "1", "-0", "0.5", "1e9", ".", "e", "true", "null", "fals", " ", "\n", "\t", "\x00", "é", `"é"`, `{"a":`, `"x\"y"`, "{}", "[]", `"12345678901234567890`}
	for range 40_000 {
		var line strings.Builder
		line.WriteString(`{"a": `)
		for range r.IntN(6) {
			line.WriteString(parts[r.IntN(len(parts))])
		}
		line.WriteString("}")
		sameQuick(t, line.String())
	}
	entries, err := os.ReadDir(filepath.Join("..", "..", "shared", "data", "malformed"))
	if err != nil {
		t.Skip("skipped: real data is not beside the project (../shared/data)")
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join("..", "..", "shared", "data", "malformed", e.Name()))
		require.NoError(t, err)
		sameQuick(t, string(text))
		sameQuick(t, `{"a": `+string(text)+`, "b": 1}`)
		sameQuick(t, `{"a": 1, `+strings.Trim(string(text), "[]{}")+`}`)
	}
}

func TestTheQuickWayIsTaken(t *testing.T) {
	c := newColumns(nil, nil, Options{Rescued: "_rescued_data"})
	d := newDecoder(c.with("a", inferred{saw: sawText}, Options{}))
	for line, want := range map[string]bool{
		`{"a": "x\"\u00e9", "b": -1.5e+3, "c": [1, {"d": null}], "e": true}` + "\r\n": true,
		`{"a": 01}`: false, `{"a": 1,}`: false, `{"a": 1} {}`: false, `{"a": "` + "\t" + `"}`: false, `{"\u0061": 1}`: false, `{"a": [1,]}`: false, `{"a": "\x"}`: false,
	} {
		d.text = line
		d.start("f", 1)
		d.beginRow()
		require.Equal(t, want, d.quick([]byte(line)), line)
	}
}

func FuzzQuick(f *testing.F) {
	f.Add(`{"a": "x\"", "b": -1.5e+3, "c": [1, {"d": null}]}` + "\n{}\n[{}]")
	f.Fuzz(func(t *testing.T, data string) { sameQuick(t, data) })
}

// sameText checks that a quoted text is unescaped as jsontext does.
func sameText(t *testing.T, in *arena, quoted string) string {
	t.Helper()
	want, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil && len(want) == 0 {
		want = []byte{}
	}
	got, err := unquote(quoted, in)
	require.NoError(t, err)
	require.Equal(t, string(want), got, quoted)
	return got
}

func TestTextsWithEscapesAreThoseOfJSON(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	parts := []string{`\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`, `\u00e9`, `\uD83D`, `\ude00`, `\uD83D\ude00`, `\ud83dx`, `\u0000`, `\uFFFF`, "é", "😀", "a", "plain text"}
	var in arena
	kept := map[string]string{} // what was handed out must not change
	for range 20_000 {
		text := ""
		for range r.IntN(8) {
			text += parts[r.IntN(len(parts))]
		}
		kept[text] = sameText(t, &in, `"`+text+`"`)
	}
	for text, got := range kept {
		require.Equal(t, sameText(t, new(arena), `"`+text+`"`), got)
	}
}

func FuzzEscapes(f *testing.F) {
	f.Add(`x\"\u00e9\ud83d\ude00\ud83d`)
	f.Fuzz(func(t *testing.T, text string) {
		if quoted := `"` + text + `"`; utf8.ValidString(text) && jsontext.Value(quoted).IsValid(jsontext.AllowInvalidUTF8(true)) {
			sameText(t, new(arena), quoted)
		}
	})
}
