// Package schema is the tables of the database, as versioned migrations. Only
// package store imports it.
package schema
