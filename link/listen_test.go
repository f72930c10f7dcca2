package link

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestListenIsExact(t *testing.T) {
	ln, err := Listen("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if addr := ln.Addr().(*net.TCPAddr); addr.IP.To4() == nil {
		t.Errorf("0.0.0.0 is %s", addr)
	}
	_, err = Listen(ln.Addr().String())
	if err == nil || !strings.HasPrefix(err.Error(), "cannot bind "+ln.Addr().String()+": address already in use; is another vft running?") {
		t.Errorf("an address that is taken: %v", err)
	}
}

func TestBindAdvice(t *testing.T) {
	for _, c := range []struct {
		why  string
		err  error
		want string
	}{
		{"somebody else has it", syscall.EADDRINUSE, "is another vft running?"},
		{"it may not be bound", os.ErrPermission, "cap_net_bind_service"},
		{"it is not here", syscall.EADDRNOTAVAIL, "an address of this host"},
	} {
		wrapped := &net.OpError{Op: "listen", Err: &os.SyscallError{Syscall: "bind", Err: c.err}}
		if got := bindAdvice(wrapped); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.why, got)
		}
		if bindReason(wrapped) != c.err {
			t.Errorf("%s: the reason is %v", c.why, bindReason(wrapped))
		}
	}
}
