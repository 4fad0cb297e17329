// Package web renders the pages that people see: consent, and messages that say
// what happened and what to do next. Plain HTML from embedded templates, no
// script; light and dark follow the system.
//
// It imports nothing of this module. Package authserver uses it.
package web
