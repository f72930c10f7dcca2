package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	readSize   = 1 << 20 // one read; larger ones are not faster
	maxPacket  = 1 << 18 // MAXIMUM_SNAPLEN of libpcap
	maxBlock   = 1 << 24 // what libpcap takes too
	zstdMemory = 1 << 27 // largest window of zstd --long
)

// stream is the uncompressed data of one file in a buffer that slides over it.
type stream struct {
	path string
	name string // of the format and the compression
	in   io.Reader
	done func() // releases the decompressor

	buf  []byte
	r, w int   // buf[r:w] waits to be used
	base int64 // offset of buf[0] in the data
	err  error // of the last read
}

// newStream looks for gzip and zstd and reads the first bytes.
func newStream(path string, in io.Reader) (*stream, error) {
	s := &stream{path: path, in: in, buf: make([]byte, readSize), done: func() {}}
	if !s.need(4) && s.w == 0 && s.err == io.EOF {
		return nil, fmt.Errorf("cannot read capture %s: it is empty", path)
	}
	head := s.buf[:s.w]
	var err error
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		err = s.decompress("gzip", func(in io.Reader) (io.Reader, func(), error) {
			z, err := gzip.NewReader(in)
			return z, func() {}, err
		})
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		err = s.decompress("zstd", func(in io.Reader) (io.Reader, func(), error) {
			z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdMemory))
			if err != nil {
				return nil, nil, err
			}
			return z, z.Close, nil
		})
	}
	return s, err
}

// decompress reads the rest through the reader that wrap makes.
func (s *stream) decompress(name string, wrap func(io.Reader) (io.Reader, func(), error)) error {
	packed := io.MultiReader(bytes.NewReader(bytes.Clone(s.buf[s.r:s.w])), &rest{s.in, s.err})
	in, done, err := wrap(packed)
	if err != nil {
		return fmt.Errorf("cannot read capture %s: it begins like %s but does not decompress: %w", s.path, name, err)
	}
	s.in, s.done, s.name = in, done, ", "+name
	s.r, s.w, s.err = 0, 0, nil
	return nil
}

// rest goes on with a reader, unless it had failed before.
type rest struct {
	in  io.Reader
	err error
}

func (r *rest) Read(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.in.Read(b)
}

func (s *stream) close() { s.done() }

// format tells the format by its first bytes and returns the func that reads it.
func (s *stream) format() (func(*Report, func(*Packet)) error, error) {
	if !s.need(4) {
		return nil, s.noCapture()
	}
	head := s.buf[s.r:s.w]
	if binary.BigEndian.Uint32(head) == blockSection {
		s.name = "pcapng" + s.name
		return s.pcapng, nil
	}
	if _, known := pcapVariant(head); known {
		s.name = "pcap" + s.name
		return s.pcap, nil
	}
	return nil, s.noCapture()
}

func (s *stream) noCapture() error {
	if s.err != nil && s.err != io.EOF {
		return fmt.Errorf("cannot read capture %s: %w", s.path, reason(s.err))
	}
	head := s.buf[s.r:min(s.w, s.r+4)]
	for _, known := range []struct{ magic, name string }{
		{"BZh", "bzip2"}, {"\xfd7zX", "xz"}, {"\x04\x22\x4d\x18", "lz4"}, {"PK\x03\x04", "zip"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return fmt.Errorf("cannot read capture %s: it is compressed with %s; unpack it first (gzip and zstd are read as they are)", s.path, known.name)
		}
	}
	return fmt.Errorf("cannot read capture %s: it is no pcap or pcapng file (begins with % x)", s.path, head)
}

// offset returns where buf[r] lies in the data.
func (s *stream) offset() int64 { return s.base + int64(s.r) }

// need makes at least n bytes of the data wait in buf[r:w] and reports whether
// it could. The buffer grows only as far as data really comes.
func (s *stream) need(n int) bool {
	for s.w-s.r < n {
		if s.err != nil {
			return false
		}
		s.fill()
	}
	return true
}

// fill reads once, after moving what waits to the front.
func (s *stream) fill() {
	copy(s.buf, s.buf[s.r:s.w])
	s.base += int64(s.r)
	s.w, s.r = s.w-s.r, 0
	if s.w == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	n, err := s.in.Read(s.buf[s.w:])
	s.w += n
	s.err = err
	if n == 0 && err == nil {
		s.err = io.ErrNoProgress
	}
}

// broken ends the file at the record that begins at offset at.
func (s *stream) broken(at int64, format string, args ...any) error {
	return &Broken{s.path, at, fmt.Sprintf(format, args...)}
}

// ended tells why need(n) failed: nil at a clean end, when nothing waits.
func (s *stream) ended(what string, n int) error {
	have := s.w - s.r
	switch {
	case s.err != io.EOF && !errors.Is(s.err, io.ErrUnexpectedEOF):
		return s.broken(s.offset(), "cannot read on: %v", reason(s.err))
	case have == 0 && s.err == io.EOF:
		return nil
	}
	return s.broken(s.offset(), "cut short: %s needs %d bytes, %d are left", what, n, have)
}
