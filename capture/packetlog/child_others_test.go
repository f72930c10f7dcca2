//go:build !linux

package packetlog

import "os"

func child(string) { endless(os.Getenv("VFT_PACKETLOG_DIR")) }
