package spark

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/stretchr/testify/require"
)

// run evaluates a function over constants.
func run(t *testing.T, name string, args ...any) (any, error) {
	t.Helper()
	f, ok := Function(strings.ToUpper(name))
	require.True(t, ok, name)
	var list []sql.Expression
	for _, a := range args {
		list = append(list, expression.NewLiteral(a, types.LongText))
	}
	ctx := sql.NewEmptyContext()
	e, err := f.NewInstance(ctx, list)
	if err != nil {
		return nil, err
	}
	return e.Eval(ctx, nil)
}

func TestTextsThatHoldTimes(t *testing.T) {
	for _, c := range []struct{ text, pattern, want string }{
		{"Mon Apr 06 22:19:45 PDT 2009", "EEE MMM dd HH:mm:ss z yyyy", "2009-04-07T05:19:45Z"},
		{"Wed Aug 27 13:08:45 +0000 2008", "EEE MMM dd HH:mm:ss Z yyyy", "2008-08-27T13:08:45Z"},
		{"2009-04-06T22:19:45Z", "yyyy-MM-dd'T'HH:mm:ss[.SSS]X", "2009-04-06T22:19:45Z"},
		{"2009-04-06T22:19:45.5+02", "yyyy-MM-dd'T'HH:mm:ss[.SSS]X", "2009-04-06T20:19:45.5Z"},
		{"2009-04-06T22:19:45.123-05:30", "yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX", "2009-04-07T03:49:45.123Z"},
		{"20090406221945", "yyyyMMddHHmmss", "2009-04-06T22:19:45Z"},
		{"6/4/09 1:05 PM", "d/M/yy h:mm a", "2009-04-06T13:05:00Z"},
		{"12:30 AM", "hh:mm a", "1970-01-01T00:30:00Z"},
		{"2009-100", "yyyy-D", "2009-04-10T00:00:00Z"},
		{"April 6, 2009 o'clock 7", "MMMM d, yyyy 'o''clock' H", "2009-04-06T07:00:00Z"},
		{"2009-07-06 12:00 Europe/Berlin", "yyyy-MM-dd HH:mm VV", "2009-07-06T10:00:00Z"},
		{"31.02.2009", "dd.MM.yyyy", ""},
		{"2009-13-01", "yyyy-MM-dd", ""},
		{"2009-04-06 and more", "yyyy-MM-dd", ""},
		{"2009-4-6", "yyyy-MM-dd", ""},
		{"", "yyyy", ""},
		{"Mon Apr 06 22:19:45 XYZ 2009", "EEE MMM dd HH:mm:ss z yyyy", ""},
	} {
		got, err := run(t, "to_timestamp", c.text, c.pattern)
		require.NoError(t, err, c.text)
		if c.want == "" {
			require.Nil(t, got, c.text)
			continue
		}
		at, ok := got.(time.Time)
		require.True(t, ok, "%s by %s: %v", c.text, c.pattern, got)
		require.Equal(t, c.want, at.Format(time.RFC3339Nano), "%s by %s", c.text, c.pattern)
	}
	for _, bad := range []string{"yyyy-bb", "'open", "a]", strings.Repeat("[", 50), strings.Repeat("y", 300)} {
		_, err := run(t, "to_timestamp", "2009", bad)
		require.Error(t, err, bad)
	}
}

// TestWhatIsWrittenIsReadBack formats random times by random patterns that lose nothing, and reads them again.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	parts := [][]string{{"yyyy", "yyyy"}, {"MM", "MMM", "MMMM"}, {"dd", "d"}, {"HH:mm:ss", "hh:mm:ss a", "KK:mm:ss a", "kk:mm:ss"}, {".SSSSSS", "'f'SSSSSS"}, {"X", "xxx", "Z", "z", "'UTC'"}}
	for range 2000 {
		var pattern string
		for _, p := range parts {
			pattern += p[r.IntN(len(p))] + []string{" ", "-", "'T'", "/"}[r.IntN(4)]
		}
		at := time.Unix(r.Int64N(4e9), r.Int64N(1e6)*1000).UTC()
		text, err := run(t, "smelt_date_format", at, pattern)
		require.NoError(t, err)
		back, err := run(t, "to_timestamp", text, pattern)
		require.NoError(t, err)
		require.Equal(t, at, back, "%s by %s", text, pattern)
	}
}

// TestPathsOfJSON compares with encoding/json over random values.
func TestPathsOfJSON(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	for range 2000 {
		value := randomJSON(r, 4)
		raw, err := json.Marshal(value)
		require.NoError(t, err)
		path, want := "$", value
		for {
			switch v := want.(type) {
			case map[string]any:
				key := fmt.Sprintf("k %d", r.IntN(3))
				path, want = path+`."`+key+`"`, v[key]
			case []any:
				i := r.IntN(3)
				path += fmt.Sprintf("[%d]", i)
				if want = nil; i < len(v) {
					want = v[i]
				}
			}
			if _, deeper := want.(map[string]any); !deeper && r.IntN(2) == 0 || want == nil || len(path) > 60 {
				break
			}
			if _, list := want.([]any); !list {
				if _, object := want.(map[string]any); !object {
					break
				}
			}
		}
		got, err := run(t, "get_json_object", string(raw), path)
		require.NoError(t, err)
		switch w := want.(type) {
		case nil:
			require.Nil(t, got, "%s of %s", path, raw)
		case string:
			require.Equal(t, w, got, "%s of %s", path, raw)
		default:
			again, err := json.Marshal(w)
			require.NoError(t, err)
			require.JSONEq(t, string(again), got.(string), "%s of %s", path, raw)
		}
	}
}

func randomJSON(r *rand.Rand, depth int) any {
	switch r.IntN(6) {
	case 0, 1:
		if depth > 0 {
			m := map[string]any{}
			for i := range r.IntN(3) + 1 {
				m[fmt.Sprintf("k %d", i)] = randomJSON(r, depth-1)
			}
			return m
		}
	case 2:
		if depth > 0 {
			var list []any
			for range r.IntN(3) + 1 {
				list = append(list, randomJSON(r, depth-1))
			}
			return list
		}
	case 3:
		return r.IntN(2) == 0
	case 4:
		return []any{"", "x\"y", "ä\n", "\\"}[r.IntN(4)]
	}
	return float64(r.IntN(1000))
}

func TestCastsThatDoNotFitAreNull(t *testing.T) {
	for _, c := range []struct {
		function string
		arg      any
		want     any
	}{
		{"smelt_cast_int", "12", int32(12)}, {"smelt_cast_int", " -3.9 ", int32(-3)}, {"smelt_cast_int", "3000000000", nil}, {"smelt_cast_int", "x", nil},
		{"smelt_cast_int", "", nil}, {"smelt_cast_int", "1e400000000", nil}, {"smelt_cast_int", "0x10", nil}, {"smelt_cast_int", true, int32(1)},
		{"smelt_cast_bigint", "9223372036854775807", int64(9223372036854775807)}, {"smelt_cast_bigint", "9223372036854775808", nil},
		{"smelt_cast_double", "1e3", 1000.0}, {"smelt_cast_double", "nope", nil}, {"smelt_number", "1e3", "1000"}, {"smelt_number", "1,5", nil},
		{"smelt_cast_boolean", "Yes", int8(1)}, {"smelt_cast_boolean", "off?", nil}, {"smelt_cast_boolean", "0", int8(0)},
		{"smelt_cast_date", "2024-02-30", nil}, {"smelt_cast_date", "2024-2-3 10:00:00", time.Date(2024, 2, 3, 0, 0, 0, 0, time.UTC)},
		{"smelt_cast_timestamp", "2024-02-03T04:05:06+02:00", time.Date(2024, 2, 3, 2, 5, 6, 0, time.UTC)}, {"smelt_cast_timestamp", "99999999999999999999", nil},
		{"smelt_cast_json", "{", nil}, {"size", "no array", nil}, {"size", "[]", int32(0)}, {"size", "[1", nil}, {"array_min", "[]", nil}, {"element_at", nil, nil},
	} {
		args := []any{c.arg}
		if c.function == "element_at" {
			args = append(args, 1)
		}
		got, err := run(t, c.function, args...)
		require.NoError(t, err, "%s(%v)", c.function, c.arg)
		require.Equal(t, c.want, got, "%s(%v)", c.function, c.arg)
	}
	_, err := run(t, "split", "a")
	require.Error(t, err)
	require.Contains(t, byName, "regexp_extract_all")
}
