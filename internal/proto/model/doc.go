// Package model holds the words every other package of fjmcp shares: User,
// Client, Grant, Access, Session, ForgejoTokens, and the sentinel errors.
//
// It holds no behaviour beyond what a word needs to be printed safely, and what
// scopes and tokens of the broker are.
package model
