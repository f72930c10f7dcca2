package link

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

const helperEnv = "VFT_LINK_HELPER"

// helpers are what this test program does when it is started again as another
// process, named in the environment: clients, so that the time and memory of
// this process are the server's alone. Each goes on until its input ends.
var helpers = map[string]func(){
	"flood":     flood,
	"idle":      idle,
	"reconnect": reconnect,
}

// startHelper runs a helper until stop is called or the test ends.
func startHelper(b *testing.B, name string, r *rig, n int) (stop func()) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+name, "VFT_LINK_SERVER="+r.addr, "VFT_LINK_SECRET="+r.cfg.Secret, "VFT_LINK_N="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("helper %s: %v", name, err)
		}
	})
	b.Cleanup(stop)
	return stop
}

// helperConfig is the configuration of a helper's clients.
func helperConfig() (cfg ClientConfig, n int) {
	n, _ = strconv.Atoi(os.Getenv("VFT_LINK_N"))
	return ClientConfig{
		Server: os.Getenv("VFT_LINK_SERVER"),
		Secret: func() string { return os.Getenv("VFT_LINK_SECRET") },
		Hello:  func() Hello { return Hello{Hostname: "bench", Version: "1.2.3"} },
	}, n
}

// untilStopped returns a context that ends with the input.
func untilStopped() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	return ctx
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

// flood sends events as fast as the server takes them, in full batches.
func flood() {
	cfg, _ := helperConfig()
	ctx := untilStopped()
	c := NewClient(cfg)
	c.identity = newIdentity()
	ws, _, err := c.connect(ctx)
	must(err)
	var acked atomic.Uint64
	go func() {
		for {
			var frame controlFrame
			if ws.ReadJSON(&frame) != nil {
				return
			}
			acked.Store(frame.Seq)
		}
	}()
	outbox := fullOutbox()
	var frame []byte
	for seq := uint64(1); ctx.Err() == nil; seq += maxBatch {
		for acked.Load()+maxInFlight < seq && ctx.Err() == nil {
			runtime.Gosched()
		}
		outbox.log.Rewind()
		outbox.last = seq - 1
		frame, _ = outbox.next(frame[:0], maxBatch)
		outbox.sent = nil
		if ws.WriteMessage(websocket.TextMessage, frame) != nil {
			return
		}
	}
}

// idle connects n clients that then say nothing.
func idle() {
	cfg, n := helperConfig()
	ctx := untilStopped()
	var work sync.WaitGroup
	slots := make(chan struct{}, 64)
	for range n {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			c := NewClient(cfg)
			c.identity = newIdentity()
			ws, _, err := c.connect(ctx)
			must(err)
			work.Go(func() { <-ctx.Done(); ws.Close() })
		})
	}
	work.Wait()
}

// reconnect connects n enrolled clients again and again.
func reconnect() {
	cfg, n := helperConfig()
	ctx := untilStopped()
	var work sync.WaitGroup
	for range n {
		work.Go(func() {
			c := NewClient(cfg)
			c.identity = newIdentity()
			for ctx.Err() == nil {
				ws, welcome, err := c.connect(ctx)
				if err != nil {
					continue
				}
				must(c.identity.dealt(welcome.Client, peerPin(ws.NetConn()), ""))
				ws.Close()
			}
		})
	}
	work.Wait()
}
