package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	launchproto "github.com/fjmcp/fjmcp-broker/internal/proto/launcher"
	"github.com/fjmcp/fjmcp-broker/internal/sandbox/forgeproxy"
)

// credentialTimeout bounds the wait for a writer of the pipe; a file is there.
const credentialTimeout = 5 * time.Second

// readToken reads the credential: a file, or a pipe that is written once.
func readToken(ctx context.Context, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, credentialTimeout)
	defer cancel()
	var token string
	read := make(chan error, 1)
	go func() { // opening a pipe blocks, and cannot be interrupted
		b, err := readCredential(filepath.Join(dir, launchproto.CredentialName))
		token = string(bytes.TrimSpace(b))
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil {
			return "", fmt.Errorf("cannot read the credential %s: %w", launchproto.CredentialName, err)
		}
		return token, forgeproxy.CheckToken(token)
	case <-ctx.Done():
		return "", fmt.Errorf("cannot read the credential %s: nobody wrote it", launchproto.CredentialName)
	}
}

func readCredential(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, forgeproxy.MaxToken+1))
}
