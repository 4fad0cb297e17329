package inject

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/fjmcp/fjmcp-broker/internal/inject/forgeproxy"
)

// credentialName is the credential that holds the first token.
const credentialName = "forgejo-token"

// readToken reads the credential: a file, or a pipe that is written once.
func readToken(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, credentialName))
	if err != nil {
		return "", fmt.Errorf("cannot read the credential %s: %w", credentialName, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, forgeproxy.MaxToken+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the credential %s: %w", credentialName, err)
	}
	token := string(bytes.TrimSpace(b))
	return token, forgeproxy.CheckToken(token)
}
