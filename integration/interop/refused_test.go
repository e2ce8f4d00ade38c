package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

type object = map[string]any

// log writes the first commits of a table by hand, each a list of actions.
func (s *server) log(table string, commits ...[]object) (dir string) {
	s.t.Helper()
	dir = filepath.Join(s.lake, table)
	require.NoError(s.t, os.MkdirAll(filepath.Join(dir, "_delta_log"), 0o755))
	for version, actions := range commits {
		var text []byte
		for _, a := range actions {
			line, err := json.Marshal(a)
			require.NoError(s.t, err)
			text = append(append(text, line...), '\n')
		}
		require.NoError(s.t, os.WriteFile(filepath.Join(dir, "_delta_log", fmt.Sprintf("%020d.json", version)), text, 0o644))
	}
	return dir
}

func protocol(reader, writer int, readerFeatures ...string) object {
	p := object{"minReaderVersion": reader, "minWriterVersion": writer}
	if reader >= 3 {
		p["readerFeatures"], p["writerFeatures"] = readerFeatures, readerFeatures
	}
	return object{"protocol": p}
}

// metadata is of a table with the columns id, a long, and one of another type.
func metadata(other string, configuration object) object {
	schema := `{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}},{"name":"c","type":` + other + `,"nullable":true,"metadata":{}}]}`
	if configuration == nil {
		configuration = object{}
	}
	return object{"metaData": object{"id": "f7b9b3a4-0000-4000-8000-000000000001", "format": object{"provider": "parquet", "options": object{}}, "schemaString": schema,
		"partitionColumns": []string{}, "configuration": configuration, "createdTime": 1}}
}

func addOf(more object) object {
	add := object{"path": "part-0.parquet", "partitionValues": object{}, "size": 100, "modificationTime": 1, "dataChange": true, "stats": `{"numRecords":1}`}
	for k, v := range more {
		add[k] = v
	}
	return object{"add": add}
}

// TestWhatSmeltCannotHonourIsRefusedByName holds that no table is attached that smelt would misread.
func TestWhatSmeltCannotHonourIsRefusedByName(t *testing.T) {
	need(t, "deltalake") // with the other tests of this package, or not at all
	s := start(t)
	text, vector := `"string"`, object{"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 6}
	for name, c := range map[string]struct {
		named   string
		actions []object
	}{
		"vector":    {"deletion vector", []object{protocol(3, 7, "deletionVectors"), metadata(text, nil), addOf(object{"deletionVector": vector})}},
		"by_name":   {`column mapping mode "name"`, []object{protocol(2, 5), metadata(text, object{"delta.columnMapping.mode": "name"})}},
		"by_id":     {`column mapping mode "id"`, []object{protocol(3, 7, "columnMapping"), metadata(text, object{"delta.columnMapping.mode": "id"})}},
		"v2":        {"v2Checkpoint", []object{protocol(3, 7, "v2Checkpoint"), metadata(text, nil)}},
		"variant":   {"variant", []object{protocol(3, 7, "variantType"), metadata(`"variant"`, nil)}},
		"catalog":   {"catalogManaged", []object{protocol(3, 7, "catalogManaged"), metadata(text, nil)}},
		"future":    {"featureOfTomorrow", []object{protocol(3, 7, "deletionVectors", "featureOfTomorrow"), metadata(text, nil)}},
		"reader_4":  {"reader version 4", []object{protocol(4, 8), metadata(text, nil)}},
		"type_x":    {`"interval"`, []object{protocol(1, 2), metadata(`"interval"`, nil)}},
		"wide":      {`"decimal(39,0)"`, []object{protocol(1, 2), metadata(`"decimal(39,0)"`, nil)}},
		"orc":       {`"orc"`, []object{protocol(1, 2), {"metaData": object{"id": "x", "format": object{"provider": "orc"}, "schemaString": "{}"}}}},
		"no_schema": {"", []object{protocol(1, 2)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			refusal := s.refused("CREATE TABLE `" + name + "` USING DELTA LOCATION '" + s.log(name, c.actions) + "'")
			require.Contains(t, refusal, c.named)
			require.Contains(t, s.refused("SELECT * FROM `"+name+"`"), "doesn't exist")
		})
	}
}

// TestWhatComesLaterIsRefusedToo attaches a table that another writer then makes unreadable: readers get an error or what
// they had, never rows that are deleted.
func TestWhatComesLaterIsRefusedToo(t *testing.T) {
	p := need(t, "deltalake")
	s := start(t)
	dir := s.written(t, "growing")
	p.ask(t, request{Op: "write", Path: dir, What: "upgrade"})
	var n int64
	err := s.db.QueryRow("SELECT COUNT(*) FROM growing").Scan(&n)
	require.ErrorContains(t, err, "v2Checkpoint")
}

func TestACompressionThatSmeltLacksIsRefusedByName(t *testing.T) {
	need(t, "deltalake")
	s := start(t)
	s.written(t, "lz4")
	require.Contains(t, s.refused("SELECT * FROM lz4"), "LZ4_RAW")
}
