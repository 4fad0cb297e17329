// Package seal encrypts the few secrets that fjmcp must read back: Forgejo's
// tokens, the PKCE verifier of a login on its way, and the successor of a
// rotated refresh token; and the state that MCP clients keep for it, which must
// come back unaltered. Everything that only has to be recognised is stored as a
// hash instead.
// Its key is the credential `store-key`: without it, users have to log in again.
package seal
