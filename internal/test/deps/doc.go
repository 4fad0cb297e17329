// Package deps holds no code: its tests check that imports run down the wings of the
// house only, that the privileged programs link nothing they have no use for, that
// every package says what it is for, that files, packages, locks and logged errors are as
// CONTRIBUTING.md wants them, that the built programs know their version, that the pages
// name nothing that is not there, and that each error text has its cure.
package deps
