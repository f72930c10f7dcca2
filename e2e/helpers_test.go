package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// helpers are small programs that the tests run on hosts of a lab: this test
// binary, started again.
var helpers = map[string]func(){
	"web":     serveWeb,
	"fetch":   fetch,
	"names":   serveNames,
	"resolve": resolve,
	"touch":   touch,
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveWeb ADDRESS is an HTTP server.
func serveWeb() {
	fail(http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello\n")
	})))
}

// fetch URL TIMES gets a page, again and again.
func fetch() {
	times, err := strconv.Atoi(os.Args[2])
	fail(err)
	for range times {
		response, err := http.Get(os.Args[1])
		fail(err)
		_, _ = io.Copy(io.Discard, response.Body)
		fail(response.Body.Close())
	}
}

// serveNames ADDRESS answers every DNS question with "no such name".
func serveNames() {
	conn, err := net.ListenPacket("udp", os.Args[1])
	fail(err)
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		fail(err)
		if n < 12 {
			continue
		}
		b[2], b[3] = b[2]|0x80, 3 // a response, name error
		_, _ = conn.WriteTo(b[:n], from)
	}
}

// resolve SERVER TIMES asks a DNS server for names.
func resolve() {
	times, err := strconv.Atoi(os.Args[2])
	fail(err)
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", os.Args[1])
	}}
	for i := range times {
		_, _ = r.LookupHost(context.Background(), fmt.Sprintf("host%d.example.", i))
	}
}

// touch SOURCE TARGET... connects from an address to each target and closes.
func touch() {
	for _, target := range os.Args[2:] {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(os.Args[1])}, Timeout: 5 * time.Second}
		conn, err := d.Dial("tcp", target)
		fail(err)
		fail(conn.Close())
	}
}
