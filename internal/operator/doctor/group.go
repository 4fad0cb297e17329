package doctor

import (
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
)

// What sessions and their broker take where they share a control group. A session that
// waits has some 7 MiB of its own with forgejo-mcp 2.34.1; a call takes more.
const (
	memoryPerSession = 8 << 20
	memoryOfBroker   = 64 << 20
	tasksOfBroker    = 64 // with what health checks and fjmcpctl start
)

// groupLimits compares what is configured with what the control group has, which is all
// that bounds sessions where they are no units.
func (d *Doctor) groupLimits(f *Finding, most int) {
	tasks, memory := d.groupLimit("pids.max"), d.groupLimit("memory.max")
	if tasks == math.MaxUint64 && memory == math.MaxUint64 {
		f.skip("no control group bounds what runs here, or its files cannot be read")
		return
	}
	if want := launchproto.TasksFor(most) + tasksOfBroker; tasks < want {
		f.warn(fmt.Sprintf("FJMCP_BROKER_SESSIONS_MAX=%d is more than %d processes and threads allow for, which is the limit of this control group (pids.max)", most, tasks),
			fmt.Sprintf("lower the number, or raise the limit; podman run --pids-limit=%d", want))
	}
	if want := uint64(most)*memoryPerSession + memoryOfBroker; memory < want {
		f.warn(fmt.Sprintf("FJMCP_BROKER_SESSIONS_MAX=%d is more than %d MiB of memory allow for, which is the limit of this control group (memory.max)", most, memory>>20),
			fmt.Sprintf("lower the number, or raise the limit; podman run --memory=%dm is enough for sessions that wait", want>>20))
	}
	f.Detail = fmt.Sprintf("%d sessions fit this control group", most)
}

// groupLimit is the least value of a file in the control group that this program is in, and
// in those around it as far as they can be seen (cgroups(7), version 2); MaxUint64 for none.
func (d *Doctor) groupLimit(file string) uint64 {
	least := uint64(math.MaxUint64)
	text, _ := os.ReadFile(d.path("/proc/self/cgroup"))
	for line := range strings.Lines(string(text)) {
		group, found := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !found {
			continue
		}
		for at := path.Clean("/" + group); ; at = path.Dir(at) {
			value, _ := os.ReadFile(d.path(path.Join("/sys/fs/cgroup", at, file)))
			if n, err := strconv.ParseUint(strings.TrimSpace(string(value)), 10, 64); err == nil { // else it is "max", or not there
				least = min(least, n)
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}
