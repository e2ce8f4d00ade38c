package hub

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Limits of what a repository may make us fetch.
const (
	maxGraphBytes = 2 << 30  // the format of a graph ends there
	maxSmallBytes = 64 << 20 // of every other file; the largest vocabularies have a fifth of it
)

// defaultGraph is the graph that is meant when none is named. Others are never guessed: they give other results.
const defaultGraph = "model.onnx"

// The files that say how a model is run, and those that a tokenizer is made of where there is no tokenizer.json.
var (
	wanted = []string{"config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"sentence_bert_config.json", "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"}
	vocabularies = []string{"vocab.txt", "vocab.json", "merges.txt", "bpe.codes", "sentencepiece.bpe.model", "spiece.model"}
)

// useful reports whether a file could be asked for: what is remembered of a repository.
func useful(name string) bool {
	return slices.Contains(wanted, name) || slices.Contains(vocabularies, name) || strings.HasSuffix(name, ".onnx") || externalData(name)
}

// externalData reports whether a file holds the tensors of a graph beside it.
func externalData(name string) bool {
	return strings.HasSuffix(name, ".onnx_data") || strings.HasSuffix(name, ".onnx.data")
}

// plan chooses the files of a repository that a model needs.
func plan(all []File, variant string) ([]File, error) {
	byName := map[string]File{}
	for _, f := range all {
		byName[f.Name] = f
	}
	graph, err := planGraph(byName, variant)
	if err != nil {
		return nil, err
	}
	names := append([]string{graph}, wanted...)
	if _, ok := byName["tokenizer.json"]; !ok {
		names = append(names, vocabularies...)
	}
	var files []File
	for _, name := range names {
		f, ok := byName[name]
		if !ok {
			continue
		}
		if limit := limitOf(name); f.Size > limit {
			return nil, fmt.Errorf("%w: %s has %d bytes; at most %d are read", ErrUnsupported, name, f.Size, limit)
		}
		files = append(files, f)
	}
	if _, ok := byName["config.json"]; !ok {
		return nil, fmt.Errorf("%w: it has no config.json", ErrUnsupported)
	}
	return files, nil
}

// planGraph finds the graph, and refuses one whose tensors lie in another file before any of it is fetched.
func planGraph(all map[string]File, variant string) (string, error) {
	name := variant
	if name == "" {
		name = defaultGraph
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) || !strings.HasSuffix(name, ".onnx") {
		return "", fmt.Errorf("%w: variant %.200q: want the name of an .onnx file in the repository", ErrNotFound, variant)
	}
	for _, graph := range []string{name, "onnx/" + name} {
		if _, ok := all[graph]; !ok {
			continue
		}
		for _, data := range []string{graph + "_data", graph + ".data"} {
			if _, ok := all[data]; ok {
				return "", fmt.Errorf("%w: the tensors of %s lie in %s (external data); export it as one file, or name a smaller variant", ErrUnsupported, graph, data)
			}
		}
		return graph, nil
	}
	var there []string
	for graph := range all {
		if strings.HasSuffix(graph, ".onnx") {
			there = append(there, graph)
		}
	}
	if len(there) == 0 {
		return "", fmt.Errorf("%w: it has no .onnx file; export the model (optimum-cli export onnx) and give the directory", ErrUnsupported)
	}
	slices.Sort(there)
	return "", fmt.Errorf("%w: it has no %s; say variant = one of %s", ErrNotFound, name, strings.Join(there[:min(len(there), 20)], ", "))
}

func limitOf(name string) int64 {
	if strings.HasSuffix(name, ".onnx") {
		return maxGraphBytes
	}
	return maxSmallBytes
}
