// Package schema is the tables of the database, as versioned migrations.
package schema
