// Package routes holds the way that each kind of request takes through the house. Its
// tests send real requests through a broker in this process and look at the stacks.
package routes
