//go:build !windows

package link

import "github.com/google/renameio/v2"

func replaceFile(file string, data []byte) error {
	return renameio.WriteFile(file, data, 0o600)
}
