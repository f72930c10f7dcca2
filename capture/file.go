package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// File reads packets from capture files: pcap in either byte order, with micro-
// or nanoseconds, the modified variant of Kuznetsov, and pcapng; each plain or
// compressed with gzip or zstd. Memory stays bounded whatever a file says: a
// packet is at most 256 KiB, a pcapng block at most 16 MiB.
type File struct {
	Paths    []string                // read in this order; "-" is Stdin
	Stdin    io.Reader               // nil: os.Stdin
	Progress func(done, total int64) // nil, or told about once a MiB of the files as they lie on disk; total is 0 when it cannot be known
}

// Report is what one file held.
type Report struct {
	Path       string
	Format     string // "pcap", "pcapng", "pcap, gzip" and so on
	Packets    uint64
	Bytes      uint64 // on the wire
	Captured   uint64 // of these, in the file
	Cut        uint64 // packets of which fewer bytes were captured than were on the wire
	OverSnap   uint64 // packets longer than the snapshot length that the file states
	OutOfOrder uint64 // packets older than one before them
	Untimed    uint64 // packets without a time (simple packet blocks); they take that of the one before
	Skipped    uint64 // pcapng blocks that hold no packet
	First      int64  // earliest packet, nanoseconds since 1970; valid iff Packets > Untimed
	Last       int64  // latest packet
	Broken     *Broken
}

// Broken tells where a file stopped making sense. The packets before it were
// read; nothing behind it was.
type Broken struct {
	Path   string
	Offset int64 // of the record, in bytes from the start of the (uncompressed) data
	Reason string
}

// Error names the file, the byte offset and the reason.
func (b *Broken) Error() string {
	return fmt.Sprintf("%s: broken record at byte %d: %s; what came before it is counted", b.Path, b.Offset, b.Reason)
}

// Check opens every file and reads its first bytes, so that a wrong path shows
// before work starts. Stdin is not touched.
func (f *File) Check() error {
	for _, path := range f.Paths {
		if path == "-" {
			continue
		}
		if err := check(path); err != nil {
			return err
		}
	}
	return nil
}

func check(path string) error {
	in, err := open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	s, err := newStream(path, in)
	if err != nil {
		return err
	}
	defer s.close()
	_, err = s.format()
	return err
}

// Run reads the files and calls each for every packet, in the order of the
// files. It returns one Report per file that was begun. A broken record ends
// its file, stands in its Report and is no error; a file that cannot be opened
// or is no capture is one, and so is the end of ctx.
func (f *File) Run(ctx context.Context, each func(*Packet)) ([]Report, error) {
	var reports []Report
	meter := f.meter()
	for _, path := range f.Paths {
		report := Report{Path: path}
		err := f.read(ctx, meter, &report, each)
		if report.Format != "" {
			reports = append(reports, report)
		}
		if err != nil {
			return reports, err
		}
	}
	return reports, nil
}

func (f *File) read(ctx context.Context, m *meter, report *Report, each func(*Packet)) error {
	in := io.ReadCloser(io.NopCloser(f.stdin()))
	if report.Path != "-" {
		file, err := open(report.Path)
		if err != nil {
			return err
		}
		in = file
	}
	defer in.Close()
	s, err := newStream(report.Path, &metered{ctx: ctx, in: in, meter: m})
	if err != nil {
		return err
	}
	defer s.close()
	run, err := s.format()
	if err != nil {
		return err
	}
	report.Format = s.name
	err = run(report, each)
	if b := (*Broken)(nil); errors.As(err, &b) {
		report.Broken, err = b, nil
	}
	if cause := ctx.Err(); cause != nil {
		report.Broken = nil
		return cause
	}
	return err
}

func (f *File) stdin() io.Reader {
	if f.Stdin != nil {
		return f.Stdin
	}
	return os.Stdin
}

func open(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read capture %s: %w", path, reason(err))
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("it is a directory; give the files in it")
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot read capture %s: %w", path, err)
	}
	return file, nil
}

// reason drops the path that the message names already.
func reason(err error) error {
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// meter tells Progress how far all files together are.
type meter struct {
	done, total int64
	tell        func(done, total int64)
}

func (f *File) meter() *meter {
	m := &meter{tell: f.Progress}
	for _, path := range f.Paths {
		info, err := os.Stat(path)
		if path == "-" || err != nil || !info.Mode().IsRegular() {
			m.total = 0
			break
		}
		m.total += info.Size()
	}
	return m
}

// metered counts what is read for the meter and ends with its context.
type metered struct {
	ctx   context.Context
	in    io.Reader
	meter *meter
}

func (r *metered) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(b)
	r.meter.done += int64(n)
	if r.meter.tell != nil {
		r.meter.tell(r.meter.done, r.meter.total)
	}
	return n, err
}

// note counts a packet that was just read.
func (r *Report) note(p *Packet, snaplen int) {
	switch {
	case p.untimed:
		r.Untimed++
	case r.Packets == r.Untimed:
		r.First, r.Last = p.Time, p.Time
	case p.Time < r.Last:
		r.OutOfOrder++
		r.First = min(r.First, p.Time)
	default:
		r.Last = p.Time
	}
	r.Packets++
	r.Bytes += uint64(p.Wire)
	r.Captured += uint64(len(p.Data))
	if len(p.Data) < p.Wire {
		r.Cut++
	}
	if snaplen > 0 && len(p.Data) > snaplen {
		r.OverSnap++
	}
}
