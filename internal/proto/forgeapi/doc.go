// Package forgeapi says what the forge's API offers, what of it a session may use, and
// what the tools of forgejo-mcp do with it.
//
// routes.tsv is the one list of routes, made from the OpenAPI documents that Forgejo (11
// and 16) and Gitea (1.26 and 1.27) publish, and from what they serve besides. Each line
// was judged: closed is what gives access, or has code run, beyond the session's end. The
// operator opens and closes by a Policy. What is on no list is closed.
//
// The columns: method; path, where {x} stands for one segment and {x...} for one that may
// hold escaped slashes, at the end for several; class, a word for what the route touches;
// open or closed; how it names what it is about, see below; the tools and resource
// templates of forgejo-mcp that use it, as tools.tsv names them, separated by spaces.
//
// How a route names what it is about, in words that add up, so that rules by repository can
// be held against a request:
//
//   - repo: the repository of the path, and nothing else.
//   - owner: what belongs to the path's {org}, {owner} or {username} and to no repository.
//   - repos: repositories of that owner, and which ones is not said.
//   - none: no repository and nobody but the user.
//   - across: repositories of several owners; ids and uuids that stand for one; timelines and
//     feeds; what changes whose a repository is. It is also the word for doubt.
//   - path:head: the path may hold a branch of another repository, as owner:branch.
//   - body:head: so may this field of the body, which may be owner/repo:branch, too.
//   - body:x: an owner in the field x. body:x/y: a repository of the owner in x with the name
//     in y, or without that the path's. body:/y: one of the path's owner.
//
// tools.tsv is the one list of these tools and templates. forgejo-mcp says of each tool
// that it destroys, so that clients ask before each call, and cannot tell a connection for
// reading what to hide. Each line was judged, too: by what the tool was seen to ask of a
// forge. A tool on no list counts as one that destroys.
//
// The columns: name, of a template its URI as listed; title; toolset; effect; idempotent
// or -. Lines stand by toolset, in it tools by name and then templates by name.
//
// Effects: reads changes nothing. destroys takes away what was there, or cannot be taken
// back, as a merge. All else changes, also where it writes over an older text, which the
// forge mostly keeps as history.
//
// Idempotent is, in the sense of MCP and as in HTTP, what sets or takes away what its
// arguments name: done again, with nothing between, it adds nothing, though it may fail.
// What makes a new thing is not, even where the forge refuses a second of the same name:
// when the first was renamed or merged, there are two. Neither is what leaves a trace each
// time: a revision of the wiki, a comment, a delivery. What reads is.
//
// docs/tools.md says what is in which toolset.
package forgeapi
