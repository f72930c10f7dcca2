package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// trace is a program in the kernel that keeps, for every TCP connection, the
// process that opened it, or the one that closed it when another host opened it.
// It hangs on the tracepoint sock/inet_sock_set_state and sees every network
// namespace.
type trace struct {
	opening *ebpf.Map // struct sock -> opener, until its ports are known
	tuples  *ebpf.Map // connection -> opener
	openers *ebpf.Map // each opener, at once
	program *ebpf.Program
	hook    link.Link
	reader  *ringbuf.Reader
}

// opener is what the kernel says of a process.
type opener struct {
	PID, UID uint32
	Name     [16]byte
	Boot     uint64 // nanoseconds after boot
}

const openerLength = 32

// connection is the key of tuples: 16 bytes for each address, IPv4 as 4-in-6,
// and the ports as numbers of this machine.
type connection struct {
	Local, Remote         [16]byte
	LocalPort, RemotePort uint16
}

const connectionLength = 36

// Sizes of the tables in the kernel; the longest unused goes first.
const (
	maxOpening = 8192
	maxTuples  = 16384
	ringLength = 64 << 10
)

// openTrace loads and starts the program.
func openTrace() (*trace, error) {
	t := &trace{}
	if err := t.open(); err != nil {
		t.close()
		return nil, fmt.Errorf("cannot trace connections with eBPF: %w; it needs Linux 5.8, root or cap_bpf, cap_perfmon and cap_dac_read_search, and a mounted tracefs (mount -t tracefs tracefs /sys/kernel/tracing)", err)
	}
	return t, nil
}

func (t *trace) open() error {
	const first = "pid:[4026531836]" // PROC_PID_INIT_INO of linux/proc_ns.h
	if space, err := os.Readlink("/proc/self/ns/pid"); err == nil && space != first {
		return errors.New("the pids of this container are not those of the kernel")
	}
	fields, err := readFormat()
	if err != nil {
		return err
	}
	if t.opening, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 8, ValueSize: openerLength, MaxEntries: maxOpening}); err != nil {
		return err
	}
	if t.tuples, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: connectionLength, ValueSize: openerLength, MaxEntries: maxTuples}); err != nil {
		return err
	}
	if t.openers, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: ringLength}); err != nil {
		return err
	}
	t.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.TracePoint, License: "Apache-2.0",
		Instructions: instructions(fields, t.opening.FD(), t.tuples.FD(), t.openers.FD()),
	})
	if err != nil {
		return err
	}
	if t.reader, err = ringbuf.NewReader(t.openers); err != nil {
		return err
	}
	t.hook, err = link.Tracepoint("sock", "inet_sock_set_state", t.program, nil)
	return err
}

// readFormat finds the layout of the tracepoint of the running kernel.
func readFormat() (map[string]field, error) {
	var failed error
	for _, root := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		text, err := os.ReadFile(root + "/events/sock/inet_sock_set_state/format")
		if err == nil {
			return parseFormat(text)
		}
		if failed == nil || errors.Is(failed, os.ErrNotExist) {
			failed = err
		}
	}
	return nil, failed
}

// close stops the program. What it kept is gone.
func (t *trace) close() {
	var all []interface{ Close() error }
	if t.hook != nil {
		all = append(all, t.hook)
	}
	if t.reader != nil {
		all = append(all, t.reader)
	}
	if t.program != nil {
		all = append(all, t.program)
	}
	for _, m := range []*ebpf.Map{t.opening, t.tuples, t.openers} {
		if m != nil {
			all = append(all, m)
		}
	}
	for _, c := range all {
		c.Close()
	}
}

// follow calls meet with each process that opens a connection, at once but once
// a second at most, until close.
func (t *trace) follow(meet func(pid int)) {
	const most = 1024
	met := map[uint32]uint64{}
	var record ringbuf.Record
	for t.reader.ReadInto(&record) == nil {
		if len(record.RawSample) < openerLength {
			continue
		}
		pid := binary.NativeEndian.Uint32(record.RawSample)
		boot := binary.NativeEndian.Uint64(record.RawSample[24:])
		if last, ok := met[pid]; ok && boot-last < uint64(time.Second) {
			continue
		}
		if len(met) >= most {
			clear(met)
		}
		met[pid] = boot
		meet(int(pid))
	}
}

func (t *trace) find(c tuple) (opener, bool) {
	key := connection{c.local.Addr().As16(), c.remote.Addr().As16(), c.local.Port(), c.remote.Port()}
	var o opener
	err := t.tuples.Lookup(&key, &o)
	return o, err == nil
}

func (o opener) name() string {
	name, _, _ := bytes.Cut(o.Name[:], []byte{0})
	return clean(name)
}

// ticks is when the connection was opened in the unit of proc_pid_stat(5),
// USER_HZ, which is 100 everywhere, rounded up.
func (o opener) ticks() uint64 {
	const tick = uint64(time.Second / 100)
	return (o.Boot + tick - 1) / tick
}

// States of a socket (net/tcp_states.h).
const (
	established = 1
	synSent     = 2
	finWait1    = 4
	closed      = 7
	lastAck     = 9
)

// instructions is the program. A connection that is opened here goes to synSent
// inside connect(2), by the process, but has no port yet; its ports are there
// when it is established, or fails. One that is accepted is seen when its
// process closes it: finWait1 and lastAck come out of close(2).
func instructions(f map[string]field, opening, tuples, openers int) asm.Instructions {
	const (
		who  = -openerLength // on the stack
		sock = who - 8
		key  = sock - 40
	)
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, f["protocol"].offset, asm.Half),
		asm.JEq.Imm(asm.R2, 6, "tcp"),
		asm.JNE.Imm(asm.R2, 262, "exit"), // IPPROTO_MPTCP
		asm.LoadMem(asm.R7, asm.R6, f["newstate"].offset, asm.Word).WithSymbol("tcp"),
		asm.LoadMem(asm.R2, asm.R6, f["skaddr"].offset, asm.DWord),
		asm.StoreMem(asm.R10, sock, asm.R2, asm.DWord),
		asm.JEq.Imm(asm.R7, synSent, "connect"),

		asm.LoadMapPtr(asm.R1, opening),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, sock),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "accepted"),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.Mov.Imm(asm.R9, int32(ebpf.UpdateAny)),
		asm.JEq.Imm(asm.R7, established, "store"),
		asm.JEq.Imm(asm.R7, closed, "store"),
		asm.Ja.Label("exit"),

		asm.JEq.Imm(asm.R7, finWait1, "closing").WithSymbol("accepted"),
		asm.JNE.Imm(asm.R7, lastAck, "exit"),
	}
	p = append(p, current(who, "closing")...)
	p = append(p,
		asm.Mov.Reg(asm.R8, asm.R10),
		asm.Add.Imm(asm.R8, who),
		asm.Mov.Imm(asm.R9, int32(ebpf.UpdateNoExist)),
	)
	p = append(p, copyKey(f, key, "store")...)
	p = append(p,
		asm.LoadMapPtr(asm.R1, tuples),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, key),
		asm.Mov.Reg(asm.R3, asm.R8),
		asm.Mov.Reg(asm.R4, asm.R9),
		asm.FnMapUpdateElem.Call(),
		asm.JNE.Imm(asm.R7, closed, "exit"),
		asm.LoadMapPtr(asm.R1, opening),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, sock),
		asm.FnMapDeleteElem.Call(),
		asm.Ja.Label("exit"),
	)
	p = append(p, current(who, "connect")...)
	return append(p,
		asm.LoadMapPtr(asm.R1, opening),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, sock),
		asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, who),
		asm.Mov.Imm(asm.R4, int32(ebpf.UpdateAny)),
		asm.FnMapUpdateElem.Call(),
		asm.LoadMapPtr(asm.R1, openers),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, who),
		asm.Mov.Imm(asm.R3, openerLength),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),

		asm.Mov.Imm(asm.R0, 0).WithSymbol("exit"),
		asm.Return(),
	)
}

// current writes the opener that runs now to the stack, or goes to exit when it
// is no process.
func current(at int16, label string) asm.Instructions {
	return asm.Instructions{
		asm.FnGetCurrentPidTgid.Call().WithSymbol(label),
		asm.RSh.Imm(asm.R0, 32),
		asm.JEq.Imm(asm.R0, 0, "exit"),
		asm.StoreMem(asm.R10, at, asm.R0, asm.Word),
		asm.FnGetCurrentUidGid.Call(),
		asm.StoreMem(asm.R10, at+4, asm.R0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R10),
		asm.Add.Imm(asm.R1, int32(at+8)),
		asm.Mov.Imm(asm.R2, 16),
		asm.FnGetCurrentComm.Call(),
		asm.FnKtimeGetBootNs.Call(),
		asm.StoreMem(asm.R10, at+24, asm.R0, asm.DWord),
	}
}

// copyKey writes the connection of the tracepoint to the stack.
func copyKey(f map[string]field, at int16, label string) asm.Instructions {
	var p asm.Instructions
	for word := int16(0); word < 16; word += 4 {
		p = append(p,
			asm.LoadMem(asm.R2, asm.R6, f["saddr_v6"].offset+word, asm.Word),
			asm.StoreMem(asm.R10, at+word, asm.R2, asm.Word),
			asm.LoadMem(asm.R2, asm.R6, f["daddr_v6"].offset+word, asm.Word),
			asm.StoreMem(asm.R10, at+16+word, asm.R2, asm.Word),
		)
	}
	p[0] = p[0].WithSymbol(label)
	return append(p,
		asm.LoadMem(asm.R2, asm.R6, f["sport"].offset, asm.Half),
		asm.StoreMem(asm.R10, at+32, asm.R2, asm.Half),
		asm.LoadMem(asm.R2, asm.R6, f["dport"].offset, asm.Half),
		asm.StoreMem(asm.R10, at+34, asm.R2, asm.Half),
	)
}
