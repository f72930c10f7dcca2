package packetlog

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"vft/capture/packet"
)

// childVariable says, in the environment of this test program started again,
// which part of a child it plays.
const childVariable = "VFT_PACKETLOG_CHILD"

func TestMain(m *testing.M) {
	if part := os.Getenv(childVariable); part != "" {
		child(part)
		return
	}
	os.Exit(m.Run())
}

// sizesOf returns the sizes of the packets of each flow of a writer: all below a
// line, or longer ones among them.
func sizesOf(part string) [][]int {
	if part == "short" {
		return [][]int{{62}, {1514}, {1514}, {4036}, {1514, 590}, {4052, 62, 62}, {3000, 4020}, {1000}}
	}
	return [][]int{{62}, {1514}, {4052, 62, 62, 4053}, {9000, 62, 62, 62, 62}, {65549, 62, 62, 62, 62, 62, 62}}
}

// endless logs packets of some flows, which alert now and then,
// until it is killed. It says a byte when it has begun.
func endless(dir string, sizes [][]int) {
	l := New(Config{Dir: filepath.Join(dir, "log"), Archive: filepath.Join(dir, "archive"), MaxFile: 1 << 20, Rotations: 4, Log: zerolog.Nop()})
	if err := l.Open(); err != nil {
		panic(err)
	}
	frames := map[int][]byte{}
	for n := 0; ; n++ {
		k := n % len(sizes)
		size := sizes[k][n/len(sizes)%len(sizes[k])]
		if frames[size] == nil {
			frames[size] = frame(size, 0)
		}
		setNumber(frames[size], n)
		l.Packet(key(k), packet.LinkEthernet, timeOf(n), size, frames[size])
		if n == 1000 {
			os.Stdout.Write([]byte{'.'})
		}
		if n%1777 == 0 {
			l.Archive(key(n / 1777 % len(sizes)))
		}
		if n%9973 == 0 {
			l.End(key(n / 9973 % len(sizes)))
		}
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	logDir, archive := filepath.Join(dir, "log"), filepath.Join(dir, "archive")
	random := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	for run := range 40 {
		killEndless(t, dir, []string{"short", "long"}[run%2], time.Duration(random.IntN(40_000_000)))
		before := filesIn(t, archive)
		all := append(filesIn(t, logDir), before...)
		for _, path := range all {
			previous := -1
			for _, n := range numbers(t, []string{path}) {
				if n <= previous {
					t.Fatalf("%s: packet %d after %d", path, n, previous)
				}
				previous = n
			}
		}
		whole(t, all)
		if run == 0 {
			readable(t, all...)
		}

		l := open(t, Config{Dir: logDir, Archive: archive})
		if left := filesIn(t, logDir); len(left) > 0 {
			t.Fatalf("left by the run that was killed: %v", left)
		}
		if after := filesIn(t, archive); len(after) != len(before) {
			t.Fatalf("%d files of the archive became %d", len(before), len(after))
		}
		l.close()
		if err := os.RemoveAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// killEndless starts a writer and kills it some time after it has begun. The
// time is not waited for anything: it makes the moment random, which a byte that
// the writer says would tie to the place where it says it.
func killEndless(t *testing.T, dir, part string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+part, "VFT_PACKETLOG_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Errorf("the writer did not begin: %v", err)
	}
	<-time.NewTimer(after).C
	cmd.Process.Kill()
	cmd.Wait()
}
