// Package mrtr keeps calls whose backend has asked for something only the client
// can give (2026-07-28, Multi Round-Trip Requests): the client is answered what is
// wanted, and comes back for the call with it and with the requestState it was
// given.
//
//	call ── asks ──▶ parked ── retry with requestState ──▶ taken, goes on
//	                    └───── nobody comes back ────────▶ expired
//
// A requestState is sealed, names who may come back and with what request, and is
// good once. The call itself stays here, so no retry runs it again.
//
// Package stateless imports it.
package mrtr
