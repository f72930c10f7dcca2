package packetlog

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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

// endless logs packets of all sizes in eight flows, which alert now and then,
// until it is killed. It says a byte for every hundred packets.
func endless(dir string) {
	l := New(Config{Dir: filepath.Join(dir, "log"), Archive: filepath.Join(dir, "archive"), MaxFile: 256 << 10, Rotations: 4, MaxOpen: 4, Log: zerolog.Nop()})
	if err := l.Open(); err != nil {
		panic(err)
	}
	sizes := [][]int{{62}, {1514}, {62, 1514, 590}, {4052, 4053}, {9000}, {65549, 62}, {62, 3000, 4020}, {4036}}
	frames := map[int][]byte{}
	for n := 0; ; n++ {
		k := n % len(sizes)
		size := sizes[k][n/len(sizes)%len(sizes[k])]
		if frames[size] == nil {
			frames[size] = frame(size, 0)
		}
		setNumber(frames[size], n)
		l.Packet(key(k), packet.LinkEthernet, timeOf(n), size, frames[size])
		if n%100 == 0 {
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
	for run := range 15 {
		killEndless(t, dir, 1+random.IntN(400))
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

// killEndless starts a writer and kills it after it has said n bytes.
func killEndless(t *testing.T, dir string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=endless", "VFT_PACKETLOG_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(out, 16)
	for range n {
		if _, err := r.ReadByte(); err != nil {
			t.Errorf("the writer ended by itself: %v", err)
			break
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
}
