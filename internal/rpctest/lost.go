package rpctest

import (
	"testing"

	"github.com/micro/go-platform/internal/call"
)

// Lost reports whether go-micro's rpc stack lost a call, which says nothing about
// us: one of some thousands, more under the race detector, stalls and ends with
// 408. What an Echo was told to end with is not such an error.
func Lost(stack string, err error) bool {
	if stack != RPC || err == nil {
		return false
	}
	e := call.Parse(err)
	return e.Code == 408 && e.Detail != toldToFail
}

// Whole runs what counts calls exactly until none of them was lost, twenty times
// at most: try makes a network of its own, and returns false instead of judging
// when one was.
func Whole(t *testing.T, try func() (whole bool)) {
	t.Helper()
	const tries = 20 // on a busy machine every second one loses a call
	for range tries {
		if try() {
			return
		}
		t.Log("go-micro's rpc stack lost a call: once more")
	}
	t.Errorf("calls were lost %d times in a row", tries)
}
