//go:build !linux

package packetlog

import "os"

func child(part string) { endless(os.Getenv("VFT_PACKETLOG_DIR"), sizesOf(part)) }
