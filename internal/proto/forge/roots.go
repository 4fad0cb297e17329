package forge

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Roots returns the system's certificates and those of the PEM file; nil, which stands
// for the system's, when file is empty. The error says why the file cannot be read, or
// that no certificate is in it.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the forge's CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot find a PEM certificate in the forge's CA file %s", file)
	}
	return pool, nil
}
