package process

import (
	"bufio"
	"bytes"
	"strings"
)

// runtimes maps what stands before the id of a container in the name of its
// control group to the program that made it.
var runtimes = map[string]string{
	"docker":         "docker",
	"libpod":         "podman",
	"cri-containerd": "containerd",
	"containerd":     "containerd",
	"crio":           "cri-o",
}

// container finds a container in the text of /proc/PID/cgroup. The innermost
// one counts.
func container(text []byte) (id, runtime, pod string) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		_, rest, _ := strings.Cut(lines.Text(), ":")
		_, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		if id, runtime, pod := inPath(path); id != "" {
			return id, runtime, pod
		}
	}
	return "", "", ""
}

func inPath(path string) (id, runtime, pod string) {
	around := ""
	for part := range strings.SplitSeq(path, "/") {
		part = strings.TrimSuffix(strings.TrimSuffix(part, ".scope"), ".slice")
		if uid := podUID(part); uid != "" {
			pod = uid
		}
		before, name := splitID(part)
		switch {
		case name == "" || strings.HasSuffix(before, "conmon"):
		case runtimes[before] != "":
			id, runtime = name, runtimes[before]
		case before == "" && runtimes[around] != "":
			id, runtime = name, runtimes[around]
		case before == "" && pod != "":
			id, runtime = name, "containerd"
		}
		if name, ok := strings.CutPrefix(part, "lxc.payload."); ok {
			id, runtime = name, "lxc"
		} else if around == "lxc" && part != "" {
			id, runtime = part, "lxc"
		} else if name, ok := strings.CutPrefix(part, "machine-"); ok {
			id, runtime = name, "nspawn"
		}
		around = strings.TrimSuffix(part, "_parent")
	}
	return id, runtime, pod
}

// splitID divides "docker-ID" and "ID", where an ID has 64 hex digits.
func splitID(part string) (before, id string) {
	const digits = 64
	if len(part) < digits {
		return "", ""
	}
	before, id = part[:len(part)-digits], part[len(part)-digits:]
	if strings.Trim(id, "0123456789abcdef") != "" {
		return "", ""
	}
	if before != "" && !strings.HasSuffix(before, "-") {
		return "", ""
	}
	return strings.TrimSuffix(before, "-"), id
}

// podUID finds the UID in "pod1234abcd-..." and "kubepods-burstable-pod1234abcd_...".
func podUID(part string) string {
	at := strings.LastIndex(part, "pod")
	if at < 0 {
		return ""
	}
	uid := strings.ReplaceAll(part[at+len("pod"):], "_", "-")
	plain := strings.ReplaceAll(uid, "-", "") // that of a static pod has no dashes
	if len(plain) != 32 || strings.Trim(plain, "0123456789abcdef") != "" {
		return ""
	}
	return uid
}
