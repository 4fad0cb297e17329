package forgeproxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// rangeKey is under what a request's context has the backend's Range, which the forge
// does not see: in a part of an answer a part of a token would not be found. So the proxy
// takes the part (RFC 9110 §14), which forgejo-mcp wants of job logs.
type rangeKey struct{}

func keepRange(r *http.Request) {
	if v := r.Header.Get("Range"); v != "" && r.Method == http.MethodGet {
		*r = *r.WithContext(context.WithValue(r.Context(), rangeKey{}, v))
	}
}

// takePart makes of a whole answer of a known size the part that was asked for. What is
// no single range is answered whole, as servers may.
func takePart(resp *http.Response, ranged string) {
	size := resp.ContentLength
	if resp.StatusCode != http.StatusOK || size < 0 {
		return
	}
	first, last, ok := parseRange(ranged, size)
	if !ok {
		return
	}
	body := resp.Body
	part := &partial{ReadCloser: body, skip: first, left: last - first + 1}
	resp.StatusCode = http.StatusPartialContent
	contentRange := fmt.Sprintf("bytes %d-%d/%d", first, last, size)
	if first >= size {
		resp.StatusCode, part.skip, part.left = http.StatusRequestedRangeNotSatisfiable, 0, 0
		contentRange = fmt.Sprintf("bytes */%d", size)
	}
	resp.Body, resp.ContentLength = part, part.left
	resp.Header.Set("Content-Range", contentRange)
	resp.Header.Set("Content-Length", strconv.FormatInt(part.left, 10))
}

// parseRange reads bytes=a-b, bytes=a- and bytes=-n. Both ends are within size, unless
// first is beyond it.
func parseRange(s string, size int64) (first, last int64, ok bool) {
	from, to, _ := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	a, errA := strconv.ParseInt(from, 10, 64)
	b, errB := strconv.ParseInt(to, 10, 64)
	switch {
	case !strings.HasPrefix(s, "bytes="), errA != nil && from != "", errB != nil && to != "", from == "" && to == "", a < 0, b < 0:
		return 0, 0, false
	case from == "":
		return max(0, size-b), size - 1, b > 0 && size > 0
	case to == "":
		return a, size - 1, true
	}
	return a, min(b, size-1), b >= a
}

// partial reads left bytes of a body, after skip.
type partial struct {
	io.ReadCloser
	skip, left int64
}

func (p *partial) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.skip > 0 {
		n, err := io.CopyN(io.Discard, p.ReadCloser, p.skip)
		if p.skip -= n; err != nil {
			return 0, err
		}
	}
	n, err := p.ReadCloser.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, err
}
