// Package rights knows who may do what now: it holds the operator's policy, whom its names
// mean at the forge, and what the forge says its users are members of.
//
// A login is bound by two Rights at once: those of its user's today, and those of the day
// it began, its ceiling. So what an operator takes away is gone at once, and what he adds,
// or a team one joins, needs a new login.
//
//	policy ──names──▶ ids ──┐
//	forge ──membership──────┼──▶ Rights of a user ──┐
//	                        │                       ├──▶ Limits of a login
//	                        grant's ceiling ────────┘
//
// # Names
//
// On most forges anyone may take a name that is free. So a name means the account that had
// it when it was first looked up, by its id, which is stored. A name that somebody else has
// by now is a fault of the next reload. At start nothing is looked up: names that never
// were are asked for beside, and match nobody meanwhile, but that a denial matches whom the
// broker itself knows by that name.
//
// # Membership
//
// It is asked with the user's own token, at a login and before a call when it was asked
// more than ten minutes ago; one question at a time for each user. Where it cannot be
// asked, no rule that grants by it does. It never denies, since a user can leave an
// organization.
package rights
