package apply

import (
	"bufio"
	"os"
	"os/exec"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/test/teststore"
)

// holdEnv has this test program hold a database open, as another process: a process does
// not see its own locks.
const holdEnv = "FJMCP_TEST_HOLD"

func TestHold(t *testing.T) {
	path := os.Getenv(holdEnv)
	if path == "" {
		t.Skip("it is for inUse")
	}
	teststore.Open(t, path, nil)
	_, _ = os.Stdout.WriteString("open\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until it ends
}

// inUse calls do while another process has the database open.
func inUse(t *testing.T, path string, do func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHold$")
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	do()
	must(t, in.Close())
	must(t, cmd.Wait())
}
