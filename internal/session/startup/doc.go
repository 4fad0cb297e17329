// Package startup is what stands between the requests to a dormant session and the unit
// that one of them starts: a Queue, in which they wait so that one unit starts and none
// overtakes another, and a Breaker, which keeps a backend that dies of itself from being
// started over and over. At stake: a request that is lost in the wait, or a machine that
// does nothing but start what ends.
package startup
