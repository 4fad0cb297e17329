// Package forgeapi says what the forge's API offers and what of it a session may use.
//
// routes.tsv is the one list of routes, made from the OpenAPI documents that Forgejo (11
// and 16) and Gitea (1.26 and 1.27) publish, and from what they serve besides. Each line
// was judged: closed is what gives access, or has code run, beyond the session's end. The
// operator opens and closes by a Policy. What is on no list is closed.
//
// The columns: method; path, where {x} stands for one segment and {x...} for one that may
// hold escaped slashes, at the end for several; class, a word for what the route touches;
// open or closed; the tools and resources of forgejo-mcp that use it.
package forgeapi
