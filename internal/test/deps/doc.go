// Package deps holds no code: its tests check which package may import what,
// that the privileged programs link nothing they have no use for, and that every
// package says what it is for.
package deps
