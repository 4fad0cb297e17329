// Package sqlite opens a database file that several processes share: whose it must
// be, one writing connection for each process and a pool of reading ones, and what to
// do while another process holds a lock. It knows nothing of the tables.
package sqlite
