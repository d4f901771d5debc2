package load

import "encoding/binary"

// What this client uses of HTTP/2 (RFC 9113): frame types, flags, settings.
const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	frameHeaderBytes = 9
	// maxFrameBytes is the largest payload that either side may send unless it was told otherwise.
	maxFrameBytes = 16384

	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	errorCancel = 0x8

	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4

	// defaultWindow is how many bytes may be on the way before the other side has said anything.
	defaultWindow = 65535
)

// How much this client lets the server send ahead: never less than an answer, so that the server waits for nobody.
const (
	streamWindow     = 8 << 20
	connectionWindow = 1 << 30
)

// A frameHeader is what precedes every payload.
type frameHeader struct {
	length      int
	kind, flags byte
	stream      uint32
}

func parseFrameHeader(b []byte) frameHeader {
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

func appendFrameHeader(b []byte, h frameHeader) []byte {
	b = append(b, byte(h.length>>16), byte(h.length>>8), byte(h.length), h.kind, h.flags)
	return binary.BigEndian.AppendUint32(b, h.stream)
}

func appendWindowUpdate(b []byte, stream uint32, bytes int) []byte {
	b = appendFrameHeader(b, frameHeader{length: 4, kind: frameWindowUpdate, stream: stream})
	return binary.BigEndian.AppendUint32(b, uint32(bytes))
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}

// unpad takes padding and priority off the payload of a DATA or HEADERS frame.
func unpad(h frameHeader, p []byte) ([]byte, bool) {
	pad := 0
	if h.flags&flagPadded != 0 {
		if len(p) < 1 {
			return nil, false
		}
		pad, p = int(p[0]), p[1:]
	}
	if h.kind == frameHeaders && h.flags&flagPriority != 0 {
		if len(p) < 5 {
			return nil, false
		}
		p = p[5:]
	}
	if pad > len(p) {
		return nil, false
	}
	return p[:len(p)-pad], true
}
