// Package stateless serves clients that keep no session: those of revision 2026-07-28,
// where every request says in its _meta what it needs to be understood, and those
// of older revisions that call a tool without having initialized.
//
//	request ─▶ check ─▶ shared session ─▶ exchange ─▶ translate ─▶ JSON or events
//
// One session per grant and mode serves them all. A backend that speaks 2026-07-28
// itself gets each request as it is. Any other is translated for: what its results
// lack is added, all else passes byte for byte.
//
// Package gateway makes it and calls it with authenticated requests only.
package stateless
