// Package browser holds no code: its tests walk the broker's pages with a
// real Chromium, the built programs behind TLS and a fake forge on another site:
// consent, the way through Forgejo, the account page, at the widths of a desktop
// and a phone, light and dark, with JavaScript off, held against axe-core, and
// under what an attacker would try from another page, tab or browser.
//
// $FJMCP_SCREENSHOTS names a directory for pictures of every page. axe-core comes
// from the npm registry by package npm.
package browser
