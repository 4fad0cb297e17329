package ratelimit

// The rules. They are wide enough for an office or a university behind one
// address, and for a client's servers that serve many users: what keeps codes and
// tokens from being guessed is their 256 random bits. They keep one source from
// filling database and journal, and tell a client that has gone wrong to wait.
var (
	// Register counts registrations, which store a row each and come from no
	// client yet.
	Register = Rule{Name: "register", Address: Rate{120, 0.2}}
	// Authorize counts consent pages.
	Authorize = Rule{Name: "authorize", Client: Rate{120, 1}, Address: Rate{600, 10}}
	// Login counts answered consent pages and logins to the account page: each
	// stores a row.
	Login = Rule{Name: "login", Client: Rate{60, 0.2}, Address: Rate{300, 1}}
	// Token counts token, revocation and introspection requests that failed.
	Token = Rule{Name: "token", Client: Rate{60, 1}, Address: Rate{600, 20}}
	// Bearer counts requests to the MCP endpoint whose access token is no good.
	Bearer = Rule{Name: "bearer", Client: Rate{60, 1}, Address: Rate{600, 20}}
)
