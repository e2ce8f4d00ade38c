package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"time"

	"smelt/engine/predictions"
	"smelt/models/remote"
	"smelt/tables/vfs"
	"smelt/tables/vfs/killfs"
)

// DefaultListen is the address of the MySQL listener when a command names none: loopback, beside MySQL's own 3306.
const DefaultListen = "127.0.0.1:3307"

// DefaultHTTP is the address of the status page when a command names none.
const DefaultHTTP = "127.0.0.1:8080"

// DefaultLedgerMB is the bound of smelt.predictions when a command names none.
const DefaultLedgerMB = predictions.DefaultBytes >> 20

// Config says what an Engine serves. The zero value of a field means what its comment says.
type Config struct {
	DataDir string // directory of the tables; created when missing; required

	Listen   string // host:port of the MySQL listener; "" opens none (batch mode)
	HTTP     string // host:port of the status page; "" opens none
	User     string // user name asked of MySQL clients; "" lets everybody in, on loopback only
	Password string // password of User

	IngestToken string // asked of those who POST rows or texts, and of everybody on an HTTP address off loopback
	ModelURI    string // model that POST /invocations asks when the request names none: models:/name@alias and the like; "" for none

	Watch      string   // landing directory: relative paths of read_files are looked up in it; "" means beside the pipeline
	Pipelines  []string // .sql files, or directories whose .sql files make one pipeline
	AllowPaths []string // further directories that read_files may name

	AllowHub []string // models that statements may fetch from the hub: org/name, org/* or *; of others its cache answers

	AllowEndpoints []string // where models elsewhere may be asked, as remote.CheckPattern says; none by default

	FullRefresh bool // rebuild the pipelines' tables from the start once, before anything else runs
	plan        bool // only say what the pipelines would do: they are not loaded

	// LedgerBytes bounds smelt.predictions in memory; 0 means predictions.DefaultBytes, a negative one turns it off.
	LedgerBytes int64

	OnnxLibrary      string        // ONNX Runtime library file; "" searches as models.Config says
	StatementTimeout time.Duration // limit of one client statement; 0 means the default of the SQL server
	Logger           *slog.Logger  // nil discards
}

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	if c.DataDir == "" {
		faults = append(faults, errors.New("data directory is empty: give --data DIR"))
	}
	for name, addr := range map[string]string{"--listen": c.Listen, "--http": c.HTTP} {
		if addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			faults = append(faults, fmt.Errorf("read %s %q: want host:port: %w", name, addr, err))
		}
	}
	if c.HTTP != "" && !loopback(c.HTTP) && c.IngestToken == "" {
		faults = append(faults, fmt.Errorf("serve the status page on %q: an address off loopback needs a token in SMELT_INGEST_TOKEN", c.HTTP))
	}
	if c.Listen != "" && !loopback(c.Listen) && (c.User == "" || c.Password == "") {
		faults = append(faults, fmt.Errorf("listen on %q: an address off loopback needs --user and a password in SMELT_PASSWORD", c.Listen))
	}
	for _, pattern := range c.AllowHub {
		if _, err := path.Match(pattern, "org/name"); err != nil {
			faults = append(faults, fmt.Errorf("read --allow-hub %q: want org/name, org/* or *: %w", pattern, err))
		}
	}
	for _, pattern := range c.AllowEndpoints {
		if err := remote.CheckPattern(pattern); err != nil {
			faults = append(faults, fmt.Errorf("--allow-endpoint: %w", err))
		}
	}
	for _, p := range c.Pipelines {
		if _, err := os.Stat(p); err != nil {
			faults = append(faults, fmt.Errorf("open pipeline: %w", err))
		}
	}
	return errors.Join(faults...)
}

// loopback reports whether addr can be reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// files is where tables and ledgers are kept. Crash tests have the environment name a point at which the process is to end.
func (c Config) files() (vfs.FS, error) {
	if at := os.Getenv(killfs.Variable); at != "" {
		return killfs.New(vfs.OS(), at)
	}
	return vfs.OS(), nil
}

// absolute makes the configured paths independent of the working directory.
func (c Config) absolute() (Config, error) {
	abs := func(p string) (string, error) {
		if p == "" {
			return "", nil
		}
		a, err := filepath.Abs(p)
		if err != nil {
			return "", fmt.Errorf("resolve path %q: %w", p, err)
		}
		return a, nil
	}
	var err error
	if c.DataDir, err = abs(c.DataDir); err != nil {
		return c, err
	}
	if c.Watch, err = abs(c.Watch); err != nil {
		return c, err
	}
	for _, list := range []*[]string{&c.Pipelines, &c.AllowPaths} {
		out := make([]string, len(*list))
		for i, p := range *list {
			if out[i], err = abs(p); err != nil {
				return c, err
			}
		}
		*list = out
	}
	return c, nil
}
