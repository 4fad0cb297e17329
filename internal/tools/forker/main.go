// Command forker starts a program, sends it an MCP initialize request and tells how
// long the answer took, in nanoseconds, upon each HTTP request: the plain start that
// package measure/starts compares with.
//
//	forker ADDRESS PROGRAM [ARGUMENT…]
package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/tools/bench/starts"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: forker ADDRESS PROGRAM [ARGUMENT…]")
		os.Exit(2)
	}
	err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		took, err := fork(os.Args[2:])
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, took.Nanoseconds())
	}))
	fmt.Fprintln(os.Stderr, "forker:", err)
	os.Exit(1)
}

func fork(argv []string) (took time.Duration, err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = in.Write([]byte(starts.Initialize + "\n"))
	if err == nil {
		_, err = bufio.NewReaderSize(out, 64<<10).ReadSlice('\n')
	}
	took = time.Since(began)
	return took, errors.Join(err, in.Close(), cmd.Wait())
}
