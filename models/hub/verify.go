package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is one commit of a model in the cache.
type Entry struct {
	Name      string
	Commit    string
	Revisions []string // branches and tags that mean it
	License   string   // "" where it is not known
	Graphs    []string // the .onnx files that are there
	Files     int
	Bytes     int64
}

// List returns what is in the cache, by name and commit.
func (c *Client) List() ([]Entry, error) {
	var all []Entry
	err := c.eachFolder(func(name, folder string) error {
		refs := refsOf(folder)
		commits, err := names(filepath.Join(folder, snapshotsDir))
		if err != nil {
			return err
		}
		for _, commit := range commits {
			r := repository{name: name, revision: commit, commit: commit}
			e := Entry{Name: name, Commit: commit, Revisions: refs[commit]}
			if found, _, err := c.recorded(r); err == nil {
				e.License = found.License
			}
			err := eachFile(c.snapshot(r), func(path string) error {
				info, err := os.Stat(path)
				if err != nil {
					return ignoreMissing(err) // a link to nothing: Verify names it
				}
				e.Files++
				e.Bytes += info.Size()
				if short := strings.TrimPrefix(path, c.snapshot(r)+string(filepath.Separator)); strings.HasSuffix(short, ".onnx") {
					e.Graphs = append(e.Graphs, filepath.ToSlash(short))
				}
				return nil
			})
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the cache %s: %w", c.cfg.Cache, err)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Commit, b.Commit))
	})
	return all, nil
}

// Verify reads every file of the cache, whoever fetched it, compares it with its hash, and tells of those that are damaged
// or missing. It returns how many files and bytes were read; its error is of what could not be read, or the context's.
func (c *Client) Verify(ctx context.Context, tell func(path string, err error)) (files int, bytes int64, err error) {
	err = c.eachFolder(func(_, folder string) error {
		blobs, err := names(filepath.Join(folder, blobsDir))
		if err != nil {
			return err
		}
		for _, hash := range blobs {
			if !isHash(hash) {
				continue // the part of one that is being fetched, or of a hub that keeps no hashes
			}
			path := filepath.Join(folder, blobsDir, hash)
			if bad := (File{Name: hash, Size: -1, Hash: hash}).check(ctx, path); bad != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				tell(path, bad)
			}
			if info, err := os.Stat(path); err == nil {
				files, bytes = files+1, bytes+info.Size()
			}
		}
		return eachFile(filepath.Join(folder, snapshotsDir), func(path string) error {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				tell(path, fmt.Errorf("%w: it links to a file that is not there", ErrDamaged))
			}
			return nil
		})
	})
	if err != nil {
		return files, bytes, fmt.Errorf("verify the cache %s: %w", c.cfg.Cache, err)
	}
	return files, bytes, nil
}

// eachFolder visits the models of the cache; none of a cache that does not exist.
func (c *Client) eachFolder(visit func(name, folder string) error) error {
	folders, err := names(c.cfg.Cache)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if short, ok := strings.CutPrefix(folder, folderPrefix); ok {
			if err := visit(strings.Replace(short, "--", "/", 1), filepath.Join(c.cfg.Cache, folder)); err != nil {
				return err
			}
		}
	}
	return nil
}

// refsOf returns the branches and tags of each commit.
func refsOf(folder string) map[string][]string {
	refs := map[string][]string{}
	root := filepath.Join(folder, refsDir)
	_ = eachFile(root, func(path string) error {
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if commit, err := os.ReadFile(path); err == nil {
			refs[strings.TrimSpace(string(commit))] = append(refs[strings.TrimSpace(string(commit))], filepath.ToSlash(name))
		}
		return nil
	})
	return refs
}

// eachFile visits what is no directory below one; nothing of one that does not exist.
func eachFile(root string, visit func(path string) error) error {
	return ignoreMissing(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return visit(path)
	}))
}

func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err := ignoreMissing(err); err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}
