// Package loginclient goes the way a user goes, without a screen: Browser takes an
// authorization URL through the pages on its way (consent, login at the forge,
// the forge's consent) to the client's redirect URI, and Connect is an MCP
// client, the official Go SDK's, that knows only the URL of the MCP endpoint.
//
// Both take an HTTP transport, so that they can live in a container's network.
package loginclient
