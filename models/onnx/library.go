// Package onnx runs ONNX models by ONNX Runtime: it finds and loads the library, once per process, and opens sessions
// that take token ids and give one tensor of floats. A session is one thread; parallelism is the caller's, who may run
// one session from many goroutines.
package onnx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// ErrNoLibrary is returned when the ONNX Runtime library cannot be found or loaded; the text says what to do.
var ErrNoLibrary = errors.New("ONNX Runtime is not available: run `make onnxruntime`, or name its library in SMELT_ONNXRUNTIME")

// environmentVariable names the library file and ends the search.
const environmentVariable = "SMELT_ONNXRUNTIME"

// library is the state of ONNX Runtime in this process: it is global in the library itself, so it is here as well.
var library struct {
	sync.Mutex
	path string // of the loaded library, "" before
}

// Load loads the library from path, or from where Find finds it for "". A second call does nothing.
func Load(path string) error {
	library.Lock()
	defer library.Unlock()
	if library.path != "" {
		return nil
	}
	if path == "" {
		var err error
		if path, err = Find(); err != nil {
			return err
		}
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w (look for it: %w)", ErrNoLibrary, err)
	}
	ort.SetSharedLibraryPath(path)
	// Its own log goes to stderr in colours; what matters comes back as an error.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("%w (load %s: %w; ONNX Runtime 1.29 or later is needed)", ErrNoLibrary, path, err)
	}
	library.path = path
	return nil
}

// Find returns the library file: the one that SMELT_ONNXRUNTIME names, else the first that exists of the managed
// directory beside the program or in the working directory, the user's data directory, and the system's.
func Find() (string, error) {
	if named := os.Getenv(environmentVariable); named != "" {
		return named, nil
	}
	for _, path := range places() {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", ErrNoLibrary
}

func places() []string {
	const name = "libonnxruntime.so"
	var list []string
	if program, err := os.Executable(); err == nil {
		list = append(list, filepath.Join(filepath.Dir(program), "onnxruntime", name))
	}
	list = append(list, filepath.Join("build", "onnxruntime", name))
	if home, err := os.UserHomeDir(); err == nil {
		list = append(list, filepath.Join(home, ".local", "share", "smelt", "onnxruntime", name))
	}
	for _, dir := range []string{"/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"} {
		list = append(list, filepath.Join(dir, name))
	}
	return list
}
