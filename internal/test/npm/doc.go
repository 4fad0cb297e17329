// Package npm installs programs from the npm registry that tests and benchmarks hold
// the broker against. They are no part of the project: their versions are pinned by a
// package-lock.json in the directory of the package that wants them, and they are
// kept in the test cache (internal/test/testcache).
//
// A lock file names no registry; the one that npm is configured for is used:
//
//	npm install --package-lock-only --omit-lockfile-registry-resolved
package npm
