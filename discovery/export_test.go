package discovery

import "time"

// Pace returns a wait between two heartbeats.
func Pace(interval time.Duration) time.Duration {
	return newKeeper(Options{Interval: interval}, nil, nil).pace()
}
