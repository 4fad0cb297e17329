// Package policy is the operator's language for who may do what at the forge, and the one
// definition of what it means.
//
// A policy is a list of rules. A grant says what somebody may do; a denial takes away. A
// request is allowed if grants cover it and no denial does; the order of rules does not
// matter. Rules are for users, or for members of organizations and teams and site
// administrators; what somebody is by membership only ever grants, since a user can leave
// an organization to be rid of a denial.
//
// For one user the rules that match become Rights, which are data: they are stored with a
// login, compared, and sent to where they are enforced. Everything that decides, shows or
// explains asks them, so that what is hidden and what is refused do not drift apart.
//
// What cannot be told is refused: a tool that no table knows is covered by no grant that
// names tools and by every denial that does, and so are requests that concern several
// repositories where rules name repositories.
package policy
