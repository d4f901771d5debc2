package backup_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// reseal gives the blocks of a file whose content was changed good checksums, so that what is behind them is tried. It follows
// heads as they are written, and leaves what does not look like blocks. It does not mend the SHA-256 of the trailer.
func reseal(text []byte) []byte {
	out := bytes.Clone(text)
	const preamble, head = 12, 10
	at := preamble
	for number := uint64(0); at+head <= len(out); number++ {
		stored := int(binary.BigEndian.Uint32(out[at+6:]))
		end := at + head + stored
		if stored > len(out) || end+4 > len(out) {
			break
		}
		sum := crc32.Checksum(binary.BigEndian.AppendUint64(nil, number), crc32.MakeTable(crc32.Castagnoli))
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), out[at:end])
		binary.BigEndian.PutUint32(out[end:], sum)
		at = end + 4
	}
	return out
}

// plain writes the blocks of a file without compression, so that a fuzzer changes what they say.
func plain(text []byte) []byte {
	dec, err := zstd.NewReader(nil)
	if err != nil {
		panic(err)
	}
	defer dec.Close()
	const preamble, head = 12, 10
	out := bytes.Clone(text[:preamble])
	for at := preamble; at+head < len(text) && string(text[len(text)-24+16:]) == "MGBACKND" && at < len(text)-24; {
		stored := int(binary.BigEndian.Uint32(text[at+6:]))
		content := text[at+head : at+head+stored]
		if text[at+1] == 1 {
			if content, err = dec.DecodeAll(content, nil); err != nil {
				panic(err)
			}
		}
		block := binary.BigEndian.AppendUint32([]byte{text[at], 0}, uint32(len(content)))
		block = binary.BigEndian.AppendUint32(block, uint32(len(content)))
		out = append(append(append(out, block...), content...), 0, 0, 0, 0)
		at += head + stored + 4
	}
	return reseal(append(out, text[len(text)-24:]...))
}
