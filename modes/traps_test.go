package modes

import (
	"slices"
	"testing"

	"vft/modes/settings"
)

// values reads flags as the mode does.
func values(t *testing.T, mode settings.Mode, flags map[string]string) *settings.Settings {
	t.Helper()
	inputs := map[string]*settings.Input{}
	for name, text := range flags {
		inputs[name] = &settings.Input{Texts: []string{text}}
	}
	none := func(string) (string, bool) { return "", false }
	v, err := settings.Load(settings.Source{Flags: inputs, Env: none, Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTrapsLeaveOwnPortsAlone: a trap on a port where this vft looks for its
// server or SIEM would take the place of one that starts later, and swallow
// the records.
func TestTrapsLeaveOwnPortsAlone(t *testing.T) {
	for _, c := range []struct {
		why   string
		mode  settings.Mode
		flags map[string]string
		want  []uint16 // of the pool 5000, 8080, 8443
	}{
		{"a destination on this host", settings.StandaloneMode, map[string]string{"dest": "127.0.0.1:5000"}, []uint16{8080, 8443}},
		{"a destination by URL and name", settings.StandaloneMode, map[string]string{"dest": "tls://localhost:8443"}, []uint16{5000, 8080}},
		{"two destinations", settings.StandaloneMode, map[string]string{"dest": "[::1]:5000,udp://127.0.0.2:8080"}, []uint16{8443}},
		{"a destination elsewhere", settings.StandaloneMode, map[string]string{"dest": "192.0.2.1:5000"}, []uint16{5000, 8080, 8443}},
		{"no address at all", settings.StandaloneMode, map[string]string{"dest": "stdout://"}, []uint16{5000, 8080, 8443}},
		{"the server of a client", settings.ClientMode, map[string]string{"server": "127.0.0.1:8080"}, []uint16{5000, 8443}},
		{"the server of a join string", settings.ClientMode, map[string]string{"join": "vft1:127.0.0.1:8080:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAA"}, []uint16{5000, 8443}},
	} {
		if c.flags["trap-pool"] == "" {
			c.flags["trap-pool"] = "5000,8080,8443"
		}
		h, err := trapSettings(values(t, c.mode, c.flags))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := slices.Sorted(slices.Values(h.Pool)); !slices.Equal(got, c.want) {
			t.Errorf("%s: the pool is %v, want %v", c.why, got, c.want)
		}
	}
}

func TestHowManyTraps(t *testing.T) {
	for _, c := range []struct {
		why   string
		flags map[string]string
		want  int
	}{
		{"the default", nil, 5},
		{"a pool smaller than the default", map[string]string{"trap-pool": "80,443"}, 2},
		{"a port twice is one port", map[string]string{"trap-pool": "80,443,80"}, 2},
		{"none", map[string]string{"traps": "0"}, 0},
		{"exactly these", map[string]string{"trap-ports": "80,443,80"}, 2},
	} {
		h, err := trapSettings(values(t, settings.ClientMode, c.flags))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		got := h.Count
		if len(h.Ports) > 0 {
			got = len(h.Ports)
		}
		if got != c.want {
			t.Errorf("%s: %d traps, want %d", c.why, got, c.want)
		}
	}
	if _, err := trapSettings(values(t, settings.ClientMode, map[string]string{"traps": "3", "trap-pool": "80,443,80"})); err == nil {
		t.Error("three traps of a pool of two were accepted")
	}
}
