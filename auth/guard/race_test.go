//go:build race

package guard_test

// raceFactor is how much more memory a process may use: the race detector's
// shadow of it counts.
const raceFactor = 6
