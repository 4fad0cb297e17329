// Package clientmeta reads what OAuth clients publish about themselves: client
// ID metadata documents (draft-ietf-oauth-client-id-metadata-document, as MCP's
// specification of 2025-11-25 uses it) and JSON Web Key Sets (RFC 7517).
//
// The URLs come from strangers, so everything is fetched under a guard that
// looks at the address of each connection at the moment it is made, and lets
// none but public unicast addresses and port 443 pass. There are no redirects, and
// limits on size and time. A proxy that the operator names is trusted to look itself.
//
// Documents are cached as their server says, within bounds, and an old one
// serves for a day while its server does not answer. A failed fetch is not
// repeated for some seconds. While no connection comes about at all, Reachable says so.
package clientmeta
