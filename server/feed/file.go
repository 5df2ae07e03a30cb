package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func (s *Source) read(ctx context.Context, prev Validators) ([]byte, Validators, error) {
	path, err := s.newest()
	if err != nil {
		return nil, Validators{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, Validators{}, err
	}
	if !info.Mode().IsRegular() { // a pipe would block
		return nil, Validators{}, errors.New("it is not a regular file")
	}
	// Taken before reading: a file that changes meanwhile is read again.
	v := Validators{
		File: fmt.Sprintf("%s %d %s", filepath.Base(path), info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano)),
	}
	if v.File == prev.File {
		return nil, Validators{}, errNotModified
	}
	if err := ctx.Err(); err != nil {
		return nil, Validators{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Validators{}, err
	}
	defer func() { _ = f.Close() }()
	body, err := s.readAll(f)
	if err == nil {
		err = sane(body)
	}
	if err != nil && path != s.path {
		err = fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return body, v, err
}

// newest is the file itself, or of a folder the file that was modified last; of several the last by name.
// Hidden files and those that are being written by the usual tools (~, .tmp, .part) do not count.
func (s *Source) newest() (string, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return s.path, nil
	}
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return "", err
	}
	var best string
	var at time.Time
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".tmp") ||
			strings.HasSuffix(name, ".part") {
			continue
		}
		// Stat, since a mounted Kubernetes ConfigMap is a folder of links.
		i, err := os.Stat(filepath.Join(s.path, name))
		if err != nil || !i.Mode().IsRegular() {
			continue
		}
		if best == "" || cmp.Or(i.ModTime().Compare(at), cmp.Compare(name, best)) > 0 {
			best, at = name, i.ModTime()
		}
	}
	if best == "" {
		return "", content("the folder has no file")
	}
	return filepath.Join(s.path, best), nil
}
