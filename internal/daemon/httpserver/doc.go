// Package httpserver serves HTTP on inherited or own listeners with the limits
// a server on the internet needs, drains on shutdown, reports health, and turns
// waiting connections away when the program cannot start.
package httpserver
