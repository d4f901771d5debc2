package rpc

import "encoding/binary"

// What is read of HTTP/2 (RFC 9113, sections 3.4, 4.1 and 6).
const (
	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader  = 9

	frameData    = 0x0
	frameHeaders = 0x1
	frameReset   = 0x3

	flagEndStream = 0x1
	flagPadded    = 0x8
)

// frame is what the header of a frame says.
type frame struct {
	kind, flags byte
	stream      uint32
}

// ends reports that no more comes of the stream in this direction, or at all. last says that all of the frame has come.
func (f *frame) ends(last bool) bool {
	return last && (f.kind == frameReset || f.flags&flagEndStream != 0 && (f.kind == frameData || f.kind == frameHeaders))
}

// frames cuts what goes over a connection into frames. It keeps nothing but where in a frame it is, whatever comes.
type frames struct {
	// skip bytes come before the first frame.
	skip   int
	header [frameHeader]byte
	have   int
	frame
	// data and padding of the payload are to come; a padded frame says first how much of it is padding.
	data, padding int
	padded        bool
}

// each hands on the data of each frame, in as many pieces as it comes in; of frames other than DATA it is empty. last comes with
// the last piece.
func (s *frames) each(b []byte, visit func(f *frame, data []byte, last bool)) {
	n := min(s.skip, len(b))
	s.skip, b = s.skip-n, b[n:]
	for len(b) > 0 {
		if s.have < frameHeader {
			n := copy(s.header[s.have:], b)
			b = b[n:]
			if s.have += n; s.have < frameHeader {
				return
			}
			s.begin()
		} else if s.padded {
			s.padding = min(int(b[0]), s.data-1)
			s.data -= 1 + s.padding
			s.padded, b = false, b[1:]
		}
		b = s.payload(b, visit)
	}
}

// begin reads a header.
func (s *frames) begin() {
	s.data, s.padding = int(s.header[0])<<16|int(s.header[1])<<8|int(s.header[2]), 0
	s.frame = frame{s.header[3], s.header[4], binary.BigEndian.Uint32(s.header[5:]) &^ (1 << 31)}
	s.padded = s.kind == frameData && s.flags&flagPadded != 0 && s.data > 0
}

// payload passes what there is of the payload, and returns the rest.
func (s *frames) payload(b []byte, visit func(f *frame, data []byte, last bool)) []byte {
	if s.padded {
		return b
	}
	n := min(s.data, len(b))
	data := b[:n]
	s.data, b = s.data-n, b[n:]
	n = min(s.padding, len(b))
	s.padding, b = s.padding-n, b[n:]
	last := s.data == 0 && s.padding == 0
	if last {
		s.have = 0
	}
	if s.kind != frameData {
		data = nil
	}
	visit(&s.frame, data, last)
	return b
}
