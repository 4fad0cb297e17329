// Package pages writes answers: JSON for programs, and the pages that people see,
// which ask for consent or say what happened and what to do next. Plain HTML from
// embedded templates, no script; light and dark follow the system.
//
// It imports nothing of this module. Package authserver and its parts use it.
package pages
