// Package builtin holds the models that ship with smelt: a sentiment and a topic classifier and a text encoder, small,
// trained for this project. The README.md of each folder is its model card; train/ is how they were made.
package builtin

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
)

//go:embed sentiment/*.json sentiment/*.onnx topic/*.json topic/*.onnx encoder/*.json encoder/*.onnx
var files embed.FS

// Names returns the names of the models, sorted.
func Names() []string { return []string{"encoder", "sentiment", "topic"} }

// Files returns the files of a model: config.json, model.onnx, tokenizer.json.
func Files(name string) (fs.FS, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no shipped model %q", name)
	}
	return fs.Sub(files, name)
}
