package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The names in the cache. That of records is ours; the others are Hugging Face's.
const (
	folderPrefix  = "models--"
	blobsDir      = "blobs"
	snapshotsDir  = "snapshots"
	refsDir       = "refs"
	treesDir      = "trees"  // what their newer tools remember of a commit
	recordsDir    = ".smelt" // what we remember of a commit: listing, with the licence
	maxRecordSize = 32 << 20 // bytes
)

func folderName(name string) string { return folderPrefix + strings.ReplaceAll(name, "/", "--") }

func (c *Client) folder(r repository) string { return filepath.Join(c.cfg.Cache, folderName(r.name)) }

func (c *Client) blob(r repository, hash string) string {
	return filepath.Join(c.folder(r), blobsDir, hash)
}

func (c *Client) snapshot(r repository) string {
	return filepath.Join(c.folder(r), snapshotsDir, r.commit)
}

func (c *Client) path(r repository, name string) string {
	return filepath.Join(c.snapshot(r), filepath.FromSlash(name))
}

// link gives a blob its name in the snapshot. Where there are no links the file itself goes there.
func (c *Client) link(r repository, name, blob string) error {
	path := c.path(r, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	// Under a name of its own first, so that nobody finds the file missing; renaming onto it is one step.
	temporary := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep it: %w", err)
	}
	if os.Symlink(target, temporary) != nil {
		temporary = blob
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// keep remembers what a commit holds, and that the revision means it, once all its files are there.
func (c *Client) keep(r repository, found *listing) error {
	text, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		return fmt.Errorf("keep the listing: %w", err)
	}
	if err := c.replace(r, filepath.Join(c.folder(r), recordsDir, r.commit+".json"), text); err != nil {
		return err
	}
	if r.pinned() {
		return nil
	}
	path := filepath.Join(c.folder(r), refsDir, filepath.FromSlash(r.revision))
	if now, err := os.ReadFile(path); err == nil && string(now) == r.commit {
		return nil
	}
	return c.replace(r, path, []byte(r.commit))
}

// replace writes a file in one step.
func (c *Client) replace(r repository, path string, content []byte) error {
	records := filepath.Join(c.folder(r), recordsDir)
	for _, dir := range []string{records, filepath.Dir(path)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("keep it: %w", err)
		}
	}
	file, err := os.CreateTemp(records, "*.tmp")
	if err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	_, err = c.write(file, content)
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("keep it: %w", errors.Join(err, ignoreMissing(os.Remove(file.Name()))))
	}
	return syncDir(filepath.Dir(path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// cached finds a model in the cache, and proves its files. why says what keeps the hub from being asked.
func (c *Client) cached(ctx context.Context, r repository, variant, why string) (*Snapshot, error) {
	if r.commit == "" {
		text, err := os.ReadFile(filepath.Join(c.folder(r), refsDir, filepath.FromSlash(r.revision)))
		if r.commit = strings.TrimSpace(string(text)); err != nil || !commitPattern.MatchString(r.commit) {
			return nil, fmt.Errorf("%w: the cache %s has no %s@%s, and %s", ErrNotFound, c.cfg.Cache, r.name, r.revision, why)
		}
	}
	found, partial, err := c.recorded(r)
	if err != nil {
		return nil, err
	}
	files, err := plan(found.Files, variant)
	if err != nil {
		return nil, fmt.Errorf("the cache, and %s: %w", why, err)
	}
	for _, f := range files {
		err := f.check(ctx, c.path(r, f.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: the cache lacks %s of %s@%s, and %s", ErrNotFound, f.Name, r.name, r.revision, why)
		}
		if err != nil {
			return nil, fmt.Errorf("in the cache, and %s: %w", why, err)
		}
	}
	return &Snapshot{Name: r.name, Revision: r.revision, Commit: r.commit, License: found.License, Files: files, Cached: why, dir: c.snapshot(r), partial: partial}, nil
}

// recorded returns what is known of a commit: our record, that of Hugging Face's tools, or what they fetched. partial
// tells that the repository may have more.
func (c *Client) recorded(r repository) (found *listing, partial bool, err error) {
	found = &listing{Commit: r.commit}
	if text, err := readSmall(filepath.Join(c.folder(r), recordsDir, r.commit+".json")); err == nil && json.Unmarshal(text, found) == nil && found.sound(r.commit) {
		return found, false, nil
	}
	var tree struct {
		Version int `json:"format_version"`
		Files   map[string]struct {
			Size   int64  `json:"size"`
			BlobID string `json:"blob_id"`
			SHA256 string `json:"lfs_sha256"`
		} `json:"files"`
	}
	if text, err := readSmall(filepath.Join(c.folder(r), treesDir, r.commit+".json")); err == nil && json.Unmarshal(text, &tree) == nil && tree.Version == 1 {
		found = &listing{Commit: r.commit}
		for name, f := range tree.Files {
			one := File{Name: name, Size: f.Size, Hash: f.BlobID}
			if f.SHA256 != "" {
				one.Hash = f.SHA256
			}
			if useful(name) {
				found.Files = append(found.Files, one)
			}
		}
		if found.sound(r.commit) {
			return found, false, nil
		}
	}
	found, err = c.fetched(r)
	return found, true, err
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxRecordSize {
		err = fmt.Errorf("%w: %s has %d bytes", ErrDamaged, path, info.Size())
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// proven takes the hashes of fetched files over, and leaves out what cannot be proven later.
func (l *listing) proven(fetched []File) {
	for i, f := range l.Files {
		for _, known := range fetched {
			if known.Name == f.Name {
				l.Files[i] = known
			}
		}
	}
	l.Files = slices.DeleteFunc(l.Files, func(f File) bool { return !isHash(f.Hash) })
}

// sound reports whether a listing can be used: each file has a hash to prove it by.
func (l *listing) sound(commit string) bool {
	return l.Commit == commit && len(l.Files) > 0 && !slices.ContainsFunc(l.Files, func(f File) bool { return !isHash(f.Hash) || !filepath.IsLocal(f.Name) })
}

// fetched lists what a snapshot holds; the names of the blobs are their hashes.
func (c *Client) fetched(r repository) (*listing, error) {
	found := &listing{Commit: r.commit}
	err := filepath.WalkDir(c.snapshot(r), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.snapshot(r), path)
		if err != nil {
			return err
		}
		target, err := os.Readlink(path)
		if err == nil && isHash(filepath.Base(target)) && useful(filepath.ToSlash(name)) {
			found.Files = append(found.Files, File{Name: filepath.ToSlash(name), Size: -1, Hash: filepath.Base(target)})
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the cache: %w", err)
	}
	return found, nil
}
