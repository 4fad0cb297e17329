// Package model holds the words every other package of fjmcp shares: User,
// Client, Grant, Access, Session, ForgejoTokens, and the sentinel errors.
//
// It holds no behaviour beyond what a word needs to be printed safely, and
// imports nothing of this module. Every package may import it.
package model
