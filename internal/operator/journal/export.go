package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"
)

// unusable stands for a value that the broker did not write: one with a line break or
// other bytes that are no text, one that is too long, or one of several in one field.
const unusable = "\x00"

// readEntry reads an entry in systemd's export format
// (systemd.io/JOURNAL_EXPORT_FORMATS): a line NAME=value for each field, or, where the
// value is no line of text, NAME, its length and its bytes; then an empty line. The error
// is io.EOF where there is no other entry.
func readEntry(r *bufio.Reader) (map[string]string, error) {
	entry := map[string]string{}
	for {
		line, err := r.ReadSlice('\n')
		name, value, text := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("="))
		field := string(name)
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && len(entry) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case errors.Is(err, bufio.ErrBufferFull) && text:
			value, err = []byte(unusable), skipLine(r)
		case err == nil && len(line) == 1:
			return entry, nil
		case err == nil && !text:
			value, err = []byte(unusable), skipBytes(r)
		}
		if err != nil {
			return nil, err
		}
		if _, twice := entry[field]; twice {
			value = []byte(unusable)
		}
		entry[field] = string(value)
	}
}

func skipLine(r *bufio.Reader) error {
	for {
		if _, err := r.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// skipBytes skips a value that says its length, and the line break behind it.
func skipBytes(r *bufio.Reader) error {
	var length uint64
	err := binary.Read(r, binary.LittleEndian, &length)
	if err == nil && length >= 1<<40 { // journald takes no field above 768 MiB
		err = errors.New("a field is too long")
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, r, int64(length)+1)
	}
	return err
}

// written is when journald got an entry.
func written(entry map[string]string) time.Time {
	usec, err := strconv.ParseInt(entry["__REALTIME_TIMESTAMP"], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(usec)
}
