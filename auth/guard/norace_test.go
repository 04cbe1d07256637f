//go:build !race

package guard_test

const raceFactor = 1
