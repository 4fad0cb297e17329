// Package pages renders what people see in a browser: pages that ask for consent or
// say what happened and what to do next. Plain HTML from embedded templates, no
// script; light and dark follow the system.
package pages
