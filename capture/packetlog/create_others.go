//go:build !linux

package packetlog

import "os"

// create makes a file that has its whole content when its name appears. Until
// then it has a hidden one. An existing file is replaced, or an error.
func create(path string, replace bool, fill func(*os.File) error) error {
	return createHidden(path, replace, fill)
}

// lock keeps nobody out: locks of directories are a thing of Linux here.
func lock(string) (*os.File, error) { return nil, nil }
