package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floor places every package of the house. A package imports only from lower
// floors; packages of one floor do not know each other.
var floor = map[string]int{
	// F0: records, decoders, algorithms and helpers
	"capture/filter":       0,
	"capture/flow":         0,
	"capture/packet":       0,
	"capture/stat":         0,
	"correlate/anomalyzer": 0,
	"correlate/beacon":     0,
	"correlate/known":      0,
	"correlate/spot":       0,
	"correlate/window":     0,
	"counters":             0,
	"docs/schema":          0,
	"event":                0,
	"hostinfo":             0,
	"datadir":              0,
	"ipproto":              0,
	"pipeline":             0,
	"retry":                0,
	"setting":              0,
	"throttle":             0,
	"yamlfile":             0,

	// F1: rooms of one idea
	"alerting/amqp/amqptest": 1,
	"capture":                1,
	"capture/export":         1,
	"capture/packetlog":      1,
	"capture/process":        1,
	"correlate/detect":       1,
	"correlate/fleet":        1,
	"correlate/sensor":       1,
	"correlate/watch":        1,
	"incident":               1,
	"link":                   1,
	"siem":                   1,
	"spool":                  1,
	"siem/ecs":               1,
	"siem/ecs/ecstest":       1,
	"traps":                  1,

	// F2: where events go
	"alerting/amqp": 2,
	"engine/record": 2,

	// F3: engines
	"engine/fleet":   3,
	"engine/flows":   3,
	"engine/host":    3,
	"engine/packets": 3,

	// F4: wiring
	"modes":          4,
	"modes/settings": 4,

	// F5: the program
	".": 5,
}

// exceptions are the imports that the floors forbid and the house allows, each
// with its reason.
var exceptions = map[[2]string]string{
	{"siem", "spool"}:                  "what waits for a destination waits in the one log with acknowledgement",
	{"link", "spool"}:                  "what waits for the server waits in the one log with acknowledgement",
	{"modes", "modes/settings"}:        "the settings are the part of the wiring that reads them",
	{"correlate/known", "event"}:       "an ignore entry matches the findings and hits that parts exchange",
	{"capture/stat", "capture/packet"}: "a counter reads the one Parsed that every packet passes in",
	{"capture/flow", "capture/packet"}: "a flow key is made from the one Parsed that every packet passes in",
	{"capture/flow", "ipproto"}:        "numbers of the registry, which import nothing",
	{"capture/packet", "ipproto"}:      "numbers of the registry, which import nothing",
	{"capture/filter", "ipproto"}:      "names and numbers of the registry, which import nothing",
}

func TestFloors(t *testing.T) {
	eachSource(t, parser.ImportsOnly, func(path, pkg string, file *ast.File) {
		here, known := floor[pkg]
		if !known {
			t.Errorf("package %s stands on no floor: give it one in floors_test.go", pkg)
		}
		for _, spec := range file.Imports {
			dep, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "vft/")
			if !ours || floor[dep] < here || exceptions[[2]string{pkg, dep}] != "" {
				continue
			}
			t.Errorf("%s: package %s (floor %d) may not import %s (floor %d)", path, pkg, here, dep, floor[dep])
		}
	})
}

func TestOnePackageComment(t *testing.T) {
	comments := map[string][]string{}
	eachSource(t, parser.PackageClauseOnly|parser.ParseComments, func(path, pkg string, file *ast.File) {
		comments[pkg] = slices.Grow(comments[pkg], 0)
		if file.Doc != nil {
			comments[pkg] = append(comments[pkg], path)
		}
	})
	for pkg, at := range comments {
		if len(at) != 1 {
			t.Errorf("package %s has %d package comments (%s), not one", pkg, len(at), strings.Join(at, ", "))
		}
	}
}

// modesLines is how long modes/ may be, its settings left out: it turns settings
// into rooms and runs them. What knows more belongs in a room.
const modesLines = 2200

func TestModesAreWiring(t *testing.T) {
	lines := 0
	eachSource(t, parser.PackageClauseOnly, func(path, pkg string, _ *ast.File) {
		if pkg != "modes" {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	})
	if lines == 0 || lines >= modesLines {
		t.Errorf("modes/ has %d lines, not fewer than %d: move what is no wiring into a room", lines, modesLines)
	}
}

// eachSource calls visit for every Go file of the product, tests left out.
func eachSource(t *testing.T, mode parser.Mode, visit func(path, pkg string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "e2e") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, mode)
		if err != nil {
			return err
		}
		visit(path, filepath.ToSlash(filepath.Dir(path)), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
