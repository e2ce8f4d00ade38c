package models

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// architectures holds small models of random weights, and what the official libraries say of texts.json with each.
const architectures = "testdata/architectures"

// official is golden.json of a model.
type official struct {
	MaxTokens int `json:"max_tokens"`
	Texts     []struct {
		IDs       []int64
		Prepared  *string
		Logits    []float64
		Label     string
		Scores    map[string]float64
		Embedding []float64
	}
}

// exportOf returns the directory of a model, and what is said of which texts.
func exportOf(t *testing.T, name string) (dir string, texts []string, golden official) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(architectures, name))
	require.NoError(t, err)
	readJSON(t, filepath.Join(architectures, "texts.json"), &texts)
	readJSON(t, filepath.Join(dir, "golden.json"), &golden)
	require.Len(t, golden.Texts, len(texts))
	require.Greater(t, len(texts), 50)
	return dir, texts, golden
}

// made creates a model of a fixture and returns it opened.
func made(t *testing.T, r *Registry, name string, options map[string]string) *model {
	t.Helper()
	_, err := r.Create(context.Background(), name, "", "", options, false, false)
	require.NoError(t, err)
	info, err := r.Resolve(name)
	require.NoError(t, err)
	m, err := r.loaded(name, info.Kind)
	require.NoError(t, err)
	return m
}

// TestClassifiersSayWhatTheOfficialLibrariesSay compares ids, logits, probabilities and labels.
func TestClassifiersSayWhatTheOfficialLibrariesSay(t *testing.T) {
	r := openOn(t, newDisk())
	for name, options := range map[string]map[string]string{
		"bert": {}, "distilbert": {}, "roberta-sentiment": {"preprocess": "cardiffnlp"}, "tweet-topic": {"preprocess": "tweet-topic"}, "xlm-roberta": {},
		"bertweet": {}, "bertweet-sentiment": {"preprocess": "pysentimiento"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, texts, golden := exportOf(t, name)
			options["source"] = dir
			m := made(t, r, "classifier_"+fmt.Sprint(len(r.Models())), options)
			require.Equal(t, golden.MaxTokens, m.info.MaxTokens)
			found, err := r.Classify(context.Background(), m.info.Name, texts)
			require.NoError(t, err)
			logits := outputs(t, r, m, texts)
			for i, g := range golden.Texts {
				prepared := m.prepare(texts[i])
				if g.Prepared != nil {
					require.Equal(t, *g.Prepared, prepared)
				}
				ids, _ := m.tokens.Encode(nil, prepared, m.info.MaxTokens, m.settings.Special)
				require.Equal(t, g.IDs, ids, "%.60q", texts[i])
				for j := range g.Logits {
					require.InDelta(t, g.Logits[j], float64(logits[i][j]), 1e-4, "%.60q", texts[i])
				}
				require.Equal(t, g.Label, found[i].Label, "%.60q", texts[i])
				require.Len(t, found[i].Scores, len(g.Scores))
				for _, s := range found[i].Scores {
					require.InDelta(t, g.Scores[s.Label], s.Score, 1e-4, "%s %.60q", s.Label, texts[i])
				}
			}
		})
	}
}

// TestSentenceEncodersSayWhatTheOfficialLibrarySays compares ids and embeddings.
func TestSentenceEncodersSayWhatTheOfficialLibrarySays(t *testing.T) {
	r := openOn(t, newDisk())
	for name, pooling := range map[string]string{"minilm": meanPooling, "mpnet": clsPooling, "mpnet-vocab": maxPooling} {
		t.Run(name, func(t *testing.T) {
			dir, texts, golden := exportOf(t, name)
			m := made(t, r, "encoder_"+fmt.Sprint(len(r.Models())), map[string]string{"source": dir})
			require.Equal(t, golden.MaxTokens, m.info.MaxTokens)
			require.Equal(t, pooling, m.settings.Pooling)
			vectors, err := r.Embed(context.Background(), m.info.Name, texts)
			require.NoError(t, err)
			for i, g := range golden.Texts {
				ids, _ := m.tokens.Encode(nil, texts[i], m.info.MaxTokens, true)
				require.Equal(t, g.IDs, ids, "%.60q", texts[i])
				require.Len(t, vectors[i], m.info.Dimension)
				require.GreaterOrEqual(t, cosine(g.Embedding, vectors[i]), 0.99999, "%.60q", texts[i])
			}
		})
	}
}

func cosine(a []float64, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+a[i]*float64(b[i]), aa+a[i]*a[i], bb+float64(b[i])*float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// changed copies an export into a directory; change gets each file by its name and returns what is written, nil for
// nothing.
func changed(t *testing.T, name string, change func(file string, data []byte) []byte) string {
	t.Helper()
	from, to := filepath.Join(architectures, name), t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	require.NoError(t, filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(to, path)
		if err != nil {
			return err
		}
		if data = change(filepath.ToSlash(file), data); data == nil {
			return os.Remove(path)
		}
		return os.WriteFile(path, data, 0o600)
	}))
	return to
}

// TestOptionsSayOtherwise has options override what the files of an export say.
func TestOptionsSayOtherwise(t *testing.T) {
	r := openOn(t, newDisk())
	ctx := context.Background()
	dir, texts, golden := exportOf(t, "tweet-topic")
	one := made(t, r, "one", map[string]string{"source": dir, "function_to_apply": "softmax", "preprocess": "tweet-topic", "max_length": "32"})
	require.False(t, one.info.MultiLabel)
	require.Equal(t, 32, one.info.MaxTokens)
	found, err := r.Classify(ctx, "one", texts[4:5])
	require.NoError(t, err)
	sum := 0.0
	for _, s := range found[0].Scores {
		sum += s.Score
	}
	require.InDelta(t, 1, sum, 1e-9)
	require.Equal(t, golden.Texts[4].Label, found[0].Label)

	dir, texts, golden = exportOf(t, "minilm")
	made(t, r, "first", map[string]string{"source": dir, "pooling": "cls"})
	made(t, r, "largest", map[string]string{"source": dir, "pooling": "max"})
	made(t, r, "end", map[string]string{"source": dir, "pooling": "last"})
	for _, name := range []string{"first", "largest", "end"} {
		vectors, err := r.Embed(ctx, name, texts[4:5])
		require.NoError(t, err)
		require.Less(t, cosine(golden.Texts[4].Embedding, vectors[0]), 0.99999, name)
	}
	made(t, r, "prefixed", map[string]string{"source": dir, "prefix": texts[4] + " "})
	together, err := r.Embed(ctx, "prefixed", texts[3:4])
	require.NoError(t, err)
	made(t, r, "plain", map[string]string{"source": dir})
	plain, err := r.Embed(ctx, "plain", []string{texts[4] + " " + texts[3]})
	require.NoError(t, err)
	require.Equal(t, plain, together)
}

// TestInputsAreTakenByTheirNames has a graph that calls them otherwise.
func TestInputsAreTakenByTheirNames(t *testing.T) {
	r := openOn(t, newDisk())
	plain := made(t, r, "plain", map[string]string{"source": changed(t, "bert", func(_ string, data []byte) []byte { return data })})
	dir := changed(t, "bert", func(file string, data []byte) []byte {
		if file == onnxFile {
			data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("input_ids"), []byte("the_words")), []byte("attention_mask"), []byte("which_are_real"))
		}
		return data
	})
	for inputs, want := range map[string]string{
		"": `asks for an input "the_words"`, "input_ids = the_words": `asks for an input "which_are_real"`, "words": "want input_ids = name",
		"x = y": `no input "x" to name`, "input_ids = the_words, attention_mask = the_words": "for input_ids and attention_mask",
	} {
		options := map[string]string{"source": dir}
		if inputs != "" {
			options["inputs"] = inputs
		}
		_, err := r.Create(t.Context(), "m", "", "", options, false, false)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, want)
	}
	named := made(t, r, "named", map[string]string{"source": dir, "inputs": "input_ids=the_words, attention_mask=which_are_real"})
	texts := []string{"hello world", "a longer text than the other"}
	require.Equal(t, outputs(t, r, plain, texts), outputs(t, r, named, texts))
}

// TestTokensBesideTheVocabularyAreRefused: only a tokenizer.json says how they are looked for.
func TestTokensBesideTheVocabularyAreRefused(t *testing.T) {
	r := openOn(t, newDisk())
	for _, name := range []string{"bertweet", "bert", "roberta-sentiment"} {
		dir := changed(t, name, func(_ string, data []byte) []byte { return data })
		require.NoError(t, os.WriteFile(filepath.Join(dir, "added_tokens.json"), []byte(`{"[HASHTAG]": 7}`), 0o600))
		_, err := r.Create(t.Context(), "m", "", "", map[string]string{"source": dir}, false, false)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, "[HASHTAG]", name)
	}
}

// TestAVariantIsTakenByItsName has graphs beside the one that is taken by default.
func TestAVariantIsTakenByItsName(t *testing.T) {
	r := openOn(t, newDisk())
	dir := changed(t, "distilbert", func(_ string, data []byte) []byte { return data })
	graph, err := os.ReadFile(filepath.Join(dir, "onnx", "model.onnx"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "onnx", "model_O2.onnx"), graph, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "onnx", "model.onnx"), []byte("damaged"), 0o600))
	_, err = r.Create(context.Background(), "m", "", "", map[string]string{"source": dir}, false, false)
	require.ErrorIs(t, err, ErrInvalid)
	made(t, r, "m", map[string]string{"source": dir, "variant": "model_O2.onnx"})
	_, err = r.Create(context.Background(), "n", "", "", map[string]string{"source": dir, "variant": "model_O3.onnx"}, false, false)
	require.ErrorContains(t, err, "model_O3.onnx, onnx/model_O3.onnx")
}
