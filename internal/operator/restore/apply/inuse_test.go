package apply

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/fjmcp/fjmcp-broker/internal/store"
	"github.com/fjmcp/fjmcp-broker/internal/store/seal"
)

// holdEnv has this test program hold a database open, as another process: a process does
// not see its own locks.
const holdEnv = "FJMCP_TEST_HOLD"

func TestMain(m *testing.M) {
	path := os.Getenv(holdEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := hold(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hold has the database open until standard input ends.
func hold(path string) error {
	keys, err := seal.NewKeyring(bytes.Repeat([]byte("k"), seal.KeySize)) // teststore's
	if err != nil {
		return err
	}
	s, err := store.Open(context.Background(), store.Options{Path: path, Keys: keys})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return s.Close()
}

// inUse calls do while another process has the database open.
func inUse(t *testing.T, path string, do func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
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
