package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memoryDisk is a Disk in memory that can fail: a write that fails has happened or not, as a crash would have it.
type memoryDisk struct {
	mu     sync.Mutex
	files  map[string][]byte
	writes int // left until one fails; negative for never
	after  bool
}

var errBroken = errors.New("the disk is broken")

func newDisk() *memoryDisk { return &memoryDisk{files: map[string][]byte{}, writes: -1} }

func (d *memoryDisk) Read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func (d *memoryDisk) Write(name string, content []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writes == 0 {
		if d.after {
			d.files[name] = slices.Clone(content)
		}
		return errBroken
	}
	d.writes--
	d.files[name] = slices.Clone(content)
	return nil
}

func (d *memoryDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writes == 0 {
		return errBroken
	}
	delete(d.files, name)
	return nil
}

func (d *memoryDisk) Names(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.files {
		if base, ok := strings.CutPrefix(name, dir+"/"); ok {
			names = append(names, base)
		}
	}
	slices.Sort(names)
	return names, nil
}

// libraryPath returns the ONNX Runtime library, or skips.
func libraryPath(t testing.TB) string {
	t.Helper()
	r := registry(t)
	return r.cfg.Library
}

// openOn returns a registry over a disk that may read everything.
func openOn(t testing.TB, disk Disk) *Registry {
	t.Helper()
	r, err := Open(Config{Library: libraryPath(t), Disk: disk, Permits: func(string) bool { return true }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// exported copies a shipped model into a directory, with a changed configuration.
func exported(t testing.TB, name string, change func(config map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{configFile, tokenizerFile, onnxFile} {
		data, err := os.ReadFile(filepath.Join("builtin", name, file))
		require.NoError(t, err)
		if file == configFile && change != nil {
			var c map[string]any
			require.NoError(t, json.Unmarshal(data, &c))
			change(c)
			data, err = json.Marshal(c)
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), data, 0o600))
	}
	return dir
}

// swapped gives the labels of sentiment in another order, so that its versions can be told apart.
func swapped(c map[string]any) {
	c["id2label"] = map[string]string{"0": "positive", "1": "neutral", "2": "negative"}
}

func says(t testing.TB, r *Registry, ref, text string) string {
	t.Helper()
	found, err := r.Classify(context.Background(), ref, []string{text})
	require.NoError(t, err)
	return found[0].Label
}

func TestVersionsAndAliases(t *testing.T) {
	disk := newDisk()
	r := openOn(t, disk)
	ctx := context.Background()
	dir := exported(t, "sentiment", swapped)
	changed, err := r.Create(ctx, "Mine", "ann", "ours", map[string]string{"source": dir}, false, false)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "negative", says(t, r, "mine", "I love this"))
	_, err = r.Create(ctx, "mine", "ann", "", map[string]string{"source": dir}, false, false)
	require.ErrorIs(t, err, ErrExists)
	changed, err = r.Create(ctx, "mine", "ann", "", map[string]string{"source": dir}, true, false)
	require.NoError(t, err)
	require.False(t, changed, "the same files and options are the same version")

	changed, err = r.AddVersion(ctx, "mine", "ann", "", map[string]string{"source": "builtin:sentiment"})
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "positive", says(t, r, "mine", "I love this"), "without the alias the newest answers")
	began := time.Now()
	require.NoError(t, r.SetAlias(ctx, "mine", "ann", "Production", 1, nil))
	require.Equal(t, "negative", says(t, r, "mine", "I love this"))
	for ref, want := range map[string]string{"models:/mine/1": "negative", "models:/MINE/2": "positive", "models:/mine@production": "negative", "models:/mine/Production": "negative", "models:/mine/latest": "positive", "models:/mine": "negative"} {
		require.Equal(t, want, says(t, r, ref, "I love this"), ref)
	}
	for _, ref := range []string{"models:/mine/3", "models:/mine@staging", "models:/nobody/1", "mine@production", "mine/1", "models:/", "", "models:/mine/1/2", "models:/mine/99999999999999999999"} {
		_, err := r.Resolve(ref)
		require.ErrorIs(t, err, ErrUnknownModel, ref)
	}

	// A condition is judged before the move; an error or a refusal keeps everything as it is.
	require.ErrorIs(t, r.SetAlias(ctx, "mine", "ann", "production", 2, func(context.Context) error { return errBroken }), errBroken)
	require.Equal(t, "negative", says(t, r, "mine", "I love this"))
	require.NoError(t, r.SetAlias(ctx, "mine", "ann", "production", 2, func(context.Context) error { return nil }))
	require.ErrorIs(t, r.SetAlias(ctx, "mine", "ann", "production", 2, func(context.Context) error { return errBroken }), errBroken, "a condition is judged even where nothing would move")
	require.Equal(t, "positive", says(t, r, "mine", "I love this"))
	require.NoError(t, r.Rollback(ctx, "mine", "bob", 1, time.Time{}))
	require.Equal(t, "negative", says(t, r, "mine", "I love this"))
	require.NoError(t, r.Rollback(ctx, "mine", "bob", 0, began))
	require.Equal(t, "positive", says(t, r, "mine", "I love this"), "at that time the newest answered")
	require.ErrorIs(t, r.Rollback(ctx, "mine", "bob", 0, began.Add(-time.Hour)), ErrUnknownModel)

	history := r.History()
	var operations []string
	for _, c := range history {
		operations = append(operations, fmt.Sprintf("%s %s %d", c.Operation, c.User, c.Current))
	}
	require.Equal(t, []string{"CREATE MODEL ann 1", "ADD VERSION ann 2", "SET ALIAS ann 1", "SET ALIAS ann 2", "ROLLBACK bob 1", "ROLLBACK bob 2"}, operations)

	require.ErrorIs(t, r.Drop(ctx, "mine", "ann", 2, nil), ErrInvalid, "it has an alias")
	require.NoError(t, r.UnsetAlias(ctx, "mine", "ann", "PRODUCTION", nil))
	require.NoError(t, r.Drop(ctx, "mine", "ann", 2, nil))
	require.ErrorIs(t, r.Drop(ctx, "mine", "ann", 1, nil), ErrInvalid, "it is the only one")
	_, err = r.AddVersion(ctx, "mine", "ann", "", map[string]string{"source": "builtin:sentiment"})
	require.NoError(t, err)
	require.Equal(t, 3, r.Catalog()[1].Current, "a number is never given twice")

	again := openOn(t, disk)
	require.Equal(t, r.Catalog(), again.Catalog(), "the same after a restart")
	require.Equal(t, r.History(), again.History())
	require.Equal(t, "positive", says(t, again, "mine", "I love this"))
	require.NoError(t, again.Drop(ctx, "mine", "ann", 0, nil))
	_, err = again.Resolve("mine")
	require.ErrorIs(t, err, ErrUnknownModel)
	names, err := disk.Names(filesDir)
	require.NoError(t, err)
	require.Empty(t, names, "its files are gone")
	require.ErrorIs(t, again.Drop(ctx, "sentiment", "ann", 0, nil), ErrInvalid, "what ships stays")
}

func TestShippedModelsGetVersions(t *testing.T) {
	disk := newDisk()
	r := openOn(t, disk)
	ctx := context.Background()
	_, err := r.AddVersion(ctx, "sentiment", "ann", "", map[string]string{"source": exported(t, "sentiment", swapped)})
	require.NoError(t, err)
	require.Equal(t, "negative", says(t, r, "sentiment", "I love this"))
	require.NoError(t, r.Rollback(ctx, "sentiment", "ann", 1, time.Time{}))
	r = openOn(t, disk)
	require.Equal(t, "positive", says(t, r, "sentiment", "I love this"))
	require.Equal(t, "negative", says(t, r, "models:/sentiment/2", "I love this"))
	require.NotContains(t, string(disk.files[catalogFile]), "builtin:", "what ships comes from the program")
}

// TestAChangeIsWholeOrNothing breaks the disk at each write of a history, and opens what is left.
func TestAChangeIsWholeOrNothing(t *testing.T) {
	dir := exported(t, "sentiment", swapped)
	ctx := context.Background()
	steps := []func(r *Registry) error{
		func(r *Registry) error {
			_, err := r.Create(ctx, "m", "", "", map[string]string{"source": dir}, false, false)
			return err
		},
		func(r *Registry) error {
			_, err := r.AddVersion(ctx, "m", "", "", map[string]string{"source": "builtin:sentiment"})
			return err
		},
		func(r *Registry) error { return r.SetAlias(ctx, "m", "", "production", 1, nil) },
		func(r *Registry) error { return r.Rollback(ctx, "m", "", 2, time.Time{}) },
		func(r *Registry) error { return r.UnsetAlias(ctx, "m", "", "production", nil) },
		func(r *Registry) error { return r.Drop(ctx, "m", "", 1, nil) },
		func(r *Registry) error { return r.Drop(ctx, "m", "", 0, nil) },
	}
	// What a reader sees after each step, all having gone well.
	var states []string
	state := func(r *Registry) string {
		text := ""
		for _, m := range r.Catalog() {
			if m.Name == "m" {
				text += fmt.Sprint(m.Current, m.Aliases, len(m.Versions), " ", says(t, r, "m", "I love this"))
			}
		}
		return text
	}
	well := openOn(t, newDisk())
	states = append(states, state(well))
	for _, step := range steps {
		require.NoError(t, step(well))
		states = append(states, state(well))
	}
	for _, after := range []bool{false, true} {
		for fails := range 12 {
			disk := newDisk()
			disk.writes, disk.after = fails, after
			r := openOn(t, disk)
			for i, step := range steps {
				if err := step(r); err != nil {
					require.ErrorIs(t, err, errBroken)
					require.Equal(t, states[i], state(r), "in the process the change has not happened")
					disk.writes = -1
					again := state(openOn(t, disk))
					require.Contains(t, states[i:i+2], again, "write %d of step %d", fails, i)
					break
				}
			}
		}
	}
}

// TestASwitchFailsNoCall moves an alias to and fro under calls; each sees one version.
func TestASwitchFailsNoCall(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	_, err := r.Create(ctx, "m", "", "", map[string]string{"source": "builtin:sentiment"}, false, false)
	require.NoError(t, err)
	_, err = r.AddVersion(ctx, "m", "", "", map[string]string{"source": exported(t, "sentiment", swapped)})
	require.NoError(t, err)
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				info, err := r.Resolve("m")
				if !noError(t, err) {
					return
				}
				found, err := r.Classify(ctx, info.ID, []string{"I love this", "so sad", "I love this"})
				want := map[int]string{1: "positive", 2: "negative", 3: "positive"}[info.Version]
				if !noError(t, err) || found[0].Label != want || found[2].Label != want {
					t.Errorf("version %d said %v", info.Version, found)
					return
				}
			}
		})
	}
	for i := range 60 {
		require.NoError(t, r.SetAlias(ctx, "m", "", "production", 1+i%2, nil))
		if i%20 == 19 {
			// Another version comes and goes; calls that hold it go on.
			_, err := r.AddVersion(ctx, "m", "", "", map[string]string{"source": "builtin:sentiment", "max_length": fmt.Sprint(40 + i)})
			require.NoError(t, err)
			number := r.Catalog()[1].Versions[len(r.Catalog()[1].Versions)-1].Version
			require.NoError(t, r.Drop(ctx, "m", "", number, nil))
		}
	}
	close(stop)
	callers.Wait()
}

func noError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

func TestWhatIsRefused(t *testing.T) {
	r := openOn(t, newDisk())
	r.cfg.Taken = func(name string) bool { return name == "upper" || name == "x_score" }
	good := exported(t, "sentiment", nil)
	dir := func(change func(map[string]any)) string { return exported(t, "sentiment", change) }
	without := func(name string) string {
		d := exported(t, "sentiment", nil)
		require.NoError(t, os.Remove(filepath.Join(d, name)))
		return d
	}
	external := exported(t, "sentiment", nil)
	// graph { initializer { external_data {} } }
	require.NoError(t, os.WriteFile(filepath.Join(external, onnxFile), []byte{0x3a, 0x04, 0x2a, 0x02, 0x6a, 0x00}, 0o600))
	for _, c := range []struct {
		name    string
		options map[string]string
		want    string
	}{
		{"upper", map[string]string{"source": good}, "there is a function upper()"},
		{"x", map[string]string{"source": good}, "there is a function x_score()"},
		{"a b", map[string]string{"source": good}, "want a name of letters"},
		{"m", nil, "OPTIONS needs source"},
		{"m", map[string]string{"source": "hf:org/name"}, "there is no hub here"},
		{"m", map[string]string{"source": "relative"}, "under none of"},
		{"m", map[string]string{"source": good, "colour": "red"}, `no option "colour"`},
		{"m", map[string]string{"source": good, "kind": "translator"}, "known are classifier"},
		{"m", map[string]string{"source": good, "labels": "a,b"}, "3 outputs, its configuration 2 labels"},
		{"m", map[string]string{"source": good, "labels": "a,a,b"}, "is empty or there twice"},
		{"m", map[string]string{"source": good, "max_length": "0"}, "takes 0 tokens"},
		{"m", map[string]string{"source": good, "max_length": "many"}, `max_length = "many"`},
		{"m", map[string]string{"source": good, "pooling": "weighted"}, "known are mean, cls, max, last"},
		{"m", map[string]string{"source": good, "preprocess": "magic"}, "no such preprocessing"},
		{"m", map[string]string{"source": good, "threshold": "0.5"}, "each by itself"},
		{"m", map[string]string{"source": good, "function_to_apply": "sigmoid", "thresholds": "0.5, 0.5"}, "2 thresholds for 3 labels"},
		{"m", map[string]string{"source": good, "kind": "encoder"}, "none of the outputs"},
		{"m", map[string]string{"source": good, "variant": "../model.onnx"}, "want the name of an .onnx file"},
		{"m", map[string]string{"source": good, "variant": "int8.onnx"}, "none of int8.onnx, onnx/int8.onnx"},
		{"m", map[string]string{"source": filepath.Join(good, configFile)}, "no directory"},
		{"m", map[string]string{"source": without(configFile)}, configFile},
		{"m", map[string]string{"source": without(onnxFile)}, "export the model to ONNX"},
		{"m", map[string]string{"source": without(tokenizerFile)}, "no tokenizer.json"},
		{"m", map[string]string{"source": external}, "external data"},
		{"m", map[string]string{"source": dir(func(c map[string]any) { c["vocab_size"] = 100 })}, "the model knows 100"},
		{"m", map[string]string{"source": dir(func(c map[string]any) { c["problem_type"] = "regression" })}, "regression"},
		{"m", map[string]string{"source": dir(func(c map[string]any) { c["id2label"] = map[string]string{"0": "a", "2": "b"} })}, "none for 1"},
		{"m", map[string]string{"source": dir(func(c map[string]any) {
			delete(c, "smelt")
			c["architectures"] = []string{"T5ForConditionalGeneration"}
		})}, "T5ForConditionalGeneration"},
	} {
		_, err := r.Create(context.Background(), c.name, "", "", c.options, false, false)
		require.ErrorIs(t, err, ErrInvalid, "%v", c.options)
		require.ErrorContains(t, err, c.want, "%v", c.options)
	}
	require.Empty(t, r.History())
	none, err := Open(Config{Disk: newDisk(), Permits: func(path string) bool { return false }})
	require.NoError(t, err)
	_, err = none.Create(context.Background(), "m", "", "", map[string]string{"source": good}, false, false)
	require.ErrorContains(t, err, "under none of")
}

// TestDamagedFilesAreErrors cuts and flips the files of a model. Some changes are still a model; none ends the process.
func TestDamagedFilesAreErrors(t *testing.T) {
	r := openOn(t, newDisk())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for i := range 60 {
		dir := exported(t, "topic", nil)
		file := filepath.Join(dir, []string{onnxFile, tokenizerFile, configFile}[i%3])
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		if i%2 == 0 {
			data = data[:random.IntN(len(data))]
		} else {
			for range 1 + random.IntN(20) {
				// The graph stands behind and before the weights: most flips among these would go unnoticed.
				at := random.IntN(len(data))
				if i%3 == 0 && random.IntN(2) == 0 {
					at = random.IntN(4000)
				}
				data[at] ^= byte(1 << random.IntN(8))
			}
		}
		require.NoError(t, os.WriteFile(file, data, 0o600))
		_, err = r.Create(context.Background(), fmt.Sprintf("m%d", i), "", "", map[string]string{"source": dir}, false, false)
		if err != nil {
			refused++
			require.ErrorIs(t, err, ErrInvalid)
		}
	}
	require.Greater(t, refused, 20)
}

func TestAFileThatWasDamagedLaterIsAnError(t *testing.T) {
	disk := newDisk()
	r := openOn(t, disk)
	ctx := context.Background()
	_, err := r.Create(ctx, "m", "", "", map[string]string{"source": "builtin:sentiment"}, false, false)
	require.NoError(t, err)
	_, err = r.AddVersion(ctx, "m", "", "", map[string]string{"source": exported(t, "sentiment", swapped)})
	require.NoError(t, err)
	require.NoError(t, r.SetAlias(ctx, "m", "", "production", 1, nil))
	for name := range maps.Keys(disk.files) {
		if strings.HasPrefix(name, filesDir) && len(disk.files[name]) > 1<<20 {
			disk.files[name][1000] ^= 1
		}
	}
	again := openOn(t, disk)
	_, err = again.Classify(ctx, "m", []string{"x"})
	require.ErrorContains(t, err, "it is damaged")
	require.ErrorContains(t, again.SetAlias(ctx, "m", "", "production", 2, nil), "it is damaged", "an alias does not move to what cannot run")
}

// TestVocabulariesOfOlderExports compares a tokenizer made of vocab.txt with the tokenizer.json that it came from.
func TestVocabulariesOfOlderExports(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	dir := exported(t, "sentiment", nil)
	data, err := os.ReadFile(filepath.Join(dir, tokenizerFile))
	require.NoError(t, err)
	var file struct {
		Model struct{ Vocab map[string]int }
	}
	require.NoError(t, json.Unmarshal(data, &file))
	lines := make([]string, len(file.Model.Vocab))
	for token, id := range file.Model.Vocab {
		lines[id] = token
	}
	require.NoError(t, os.Remove(filepath.Join(dir, tokenizerFile)))
	write := func() {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "vocab.txt"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	}
	write()
	_, err = r.Create(ctx, "m", "", "", map[string]string{"source": dir}, false, false)
	require.ErrorContains(t, err, "no token [CLS]")
	// Rare pieces give way to the special ones, which no text has.
	for i, special := range []string{"[CLS]", "[SEP]", "[MASK]"} {
		lines[len(lines)-1-i] = special
	}
	write()
	_, err = r.Create(ctx, "m", "", "", map[string]string{"source": dir}, false, false)
	require.NoError(t, err)
	texts := []string{"I love this, thank you!", "worst flight ever, naïve 日本 don't", "", "zzzq"}
	want, err := r.Classify(ctx, "sentiment", texts)
	require.NoError(t, err)
	got, err := r.Classify(ctx, "m", texts)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestManyModelsShareTheMemory calls more versions than may be loaded, from many goroutines: each answers, and few stay.
func TestManyModelsShareTheMemory(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	_, err := r.Create(ctx, "m", "", "", map[string]string{"source": "builtin:sentiment", "max_length": "10"}, false, false)
	require.NoError(t, err)
	for i := 1; i < 2*maxLoaded; i++ {
		_, err := r.AddVersion(ctx, "m", "", "", map[string]string{"source": "builtin:sentiment", "max_length": fmt.Sprint(10 + i)})
		require.NoError(t, err)
	}
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for i := range 3 * maxLoaded {
				found, err := r.Classify(ctx, fmt.Sprintf("models:/m/%d", 1+(i*7+caller)%(2*maxLoaded)), []string{"I love this"})
				if noError(t, err) && found[0].Label != "positive" {
					t.Errorf("said %v", found)
				}
			}
		})
	}
	callers.Wait()
	loaded := 0
	for _, m := range r.models {
		if m.used.Load() != 0 {
			loaded++
		}
	}
	require.LessOrEqual(t, loaded, maxLoaded+4, "those that are in use at once may be more")
}
