package delta

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/errorfs"
)

// FuzzRead has a commit file hold any bytes, and then only the first of them, as a crash of a writer that does not sync
// leaves it: what is read is whole lines of JSON objects, or an error that names the file. A file that was cut between
// two lines is read as if the rest had never been; no reader of Delta can tell.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"commitInfo":{"timestamp":1,"operation":"WRITE"}}`+"\n"+`{"add":{"path":"a","size":1,"stats":"{\"numRecords\":1}"}}`+"\n"), uint(70))
	f.Add([]byte("{}\r\n\r\n{\"txn\":{\"appId\":\"a\",\"version\":9}}"), uint(3))
	f.Add([]byte{}, uint(0))
	f.Add([]byte(" \n\t\r\n"), uint(1))
	f.Add(make([]byte, 100), uint(50))
	f.Add([]byte("null\n"), uint(4))
	f.Add([]byte(`[{"add":{}}]`), uint(1))
	f.Add([]byte(`{"add":{"path":"a"}}{"add":{"path":"b"}}`), uint(20))
	f.Add([]byte("\xef\xbb\xbf{}\n"), uint(3))
	f.Fuzz(func(t *testing.T, text []byte, cut uint) {
		if !readable(t, text) {
			return
		}
		torn := text[:cut%uint(len(text))]
		if readable(t, torn) {
			last := bytes.Split(bytes.TrimRight(torn, " \t\r\n"), []byte("\n"))
			end := bytes.TrimSpace(last[len(last)-1])
			require.Contains(t, lines(text), string(end), "half a line of %q", text)
		}
	})
}

// readable reads the text as a commit and checks what is said of it.
func readable(t *testing.T, text []byte) bool {
	t.Helper()
	fsys := errorfs.New()
	require.NoError(t, fsys.MkdirAll(tableDir+"/"+LogDir))
	put(t, fsys, "00000000000000000007.json", string(text))
	actions, err := NewLog(fsys, tableDir).Read(7)
	if err != nil {
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "00000000000000000007.json")
		return false
	}
	whole := lines(text)
	require.NotEmpty(t, whole, "a commit without content")
	require.Len(t, actions, len(whole))
	for _, line := range whole {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object))
		require.NotNil(t, object, "line %q is no object", line)
	}
	return true
}

// lines returns the lines that are not blank.
func lines(text []byte) []string {
	var out []string
	for _, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			out = append(out, string(line))
		}
	}
	return out
}
