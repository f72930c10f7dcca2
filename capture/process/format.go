package process

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// field is where a tracepoint has a value.
type field struct{ offset, size int16 }

// wanted are the fields of sock/inet_sock_set_state that are read, with their
// sizes and what their offsets must be multiples of.
var wanted = map[string]struct{ size, align int16 }{
	"skaddr":   {8, 8},
	"newstate": {4, 4},
	"protocol": {2, 2},
	"sport":    {2, 2},
	"dport":    {2, 2},
	"saddr_v6": {16, 4},
	"daddr_v6": {16, 4},
}

// parseFormat reads the format file of the tracepoint
// (Documentation/trace/events.rst) and holds it to what is wanted of it.
func parseFormat(text []byte) (map[string]field, error) {
	fields := map[string]field{}
	for line := range bytes.Lines(text) {
		if name, f, ok := parseField(string(line)); ok {
			fields[name] = f
		}
	}
	for name, want := range wanted {
		f, ok := fields[name]
		if !ok || f.size != want.size || f.offset%want.align != 0 {
			return nil, fmt.Errorf("the tracepoint sock/inet_sock_set_state of this kernel has no field %s of %d bytes", name, want.size)
		}
	}
	return fields, nil
}

// parseField reads "field:__u8 saddr[4]; offset:32; size:4; signed:0;".
func parseField(line string) (name string, f field, ok bool) {
	declared, rest, ok := strings.Cut(strings.TrimSpace(line), ";")
	if !ok || !strings.HasPrefix(declared, "field:") {
		return "", f, false
	}
	name, _, _ = strings.Cut(declared[strings.LastIndexAny(declared, " *:")+1:], "[")
	for part := range strings.SplitSeq(rest, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), ":")
		n, err := strconv.ParseInt(value, 10, 16)
		switch {
		case key == "offset" && err == nil && n >= 0:
			f.offset = int16(n)
		case key == "size" && err == nil && n > 0:
			f.size = int16(n)
		}
	}
	return name, f, name != "" && f.size > 0
}
