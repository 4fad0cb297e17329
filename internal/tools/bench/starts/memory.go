package starts

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// memory is what each fjmcp-session holds, bytes.
type memory struct {
	private []float64 // shared with no other process: what one more session costs
	pss     []float64 // and its part of what several share, the program's text most of all
}

// memory looks at all fjmcp-sessions in the container.
func (s *system) memory(ctx context.Context) (m memory, err error) {
	out, err := s.C.Shell(ctx, `for p in $(pidof fjmcp-session); do
		awk '/^Private_/ { private += $2 } /^Pss:/ { pss = $2 } END { print private, pss }' "/proc/$p/smaps_rollup"
	done`)
	if err != nil {
		return m, err
	}
	for in := bufio.NewScanner(strings.NewReader(out)); in.Scan(); {
		var private, pss float64
		if _, err := fmt.Sscan(in.Text(), &private, &pss); err != nil {
			return m, fmt.Errorf("cannot read %q of smaps_rollup: %w", in.Text(), err)
		}
		m.private, m.pss = append(m.private, private*1024), append(m.pss, pss*1024)
	}
	return m, nil
}
