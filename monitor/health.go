package monitor

import "time"

// Status is how far a service is in its life. The numbers are those on the
// wire.
type Status int32

// The statuses of a service.
const (
	StatusUnknown  Status = 0 // not started, or silent for three intervals
	StatusStarted  Status = 1
	StatusRunning  Status = 2
	StatusStopped  Status = 3
	StatusDraining Status = 4
)

// String returns the name on the wire, "RUNNING".
func (s Status) String() string {
	names := [...]string{"UNKNOWN", "STARTED", "RUNNING", "STOPPED", "DRAINING"}
	if s < 0 || int(s) >= len(names) {
		return names[0]
	}
	return names[s]
}

// after reports whether a service may go from t to s: only forward.
func (s Status) after(t Status) bool {
	rank := [...]int{StatusUnknown: 0, StatusStarted: 1, StatusRunning: 2, StatusDraining: 3, StatusStopped: 4}
	return rank[s] > rank[t]
}

// CheckStatus is what the thresholds of a check make of its results.
type CheckStatus int32

// The statuses of a check.
const (
	CheckUnknown CheckStatus = 0 // has not run
	CheckOK      CheckStatus = 1
	CheckError   CheckStatus = 2
)

// String returns "UNKNOWN", "OK" or "ERROR".
func (s CheckStatus) String() string {
	switch s {
	case CheckOK:
		return "OK"
	case CheckError:
		return "ERROR"
	}
	return "UNKNOWN"
}

// Health is the state of a service as its monitor sees it.
type Health struct {
	Service string
	Node    string // id at the registry
	Status  Status
	// Live is false while a critical live check is in error.
	Live bool
	// NotReady says why the node should get no calls; it is empty while it
	// should: "starting", "draining", "stopped", "check ID".
	NotReady []string
	Checks   []CheckState // ordered by id
}

// Ready reports whether the node should get calls: it runs, and no critical ready
// check is in error. One that has not run yet does not count.
func (h Health) Ready() bool { return len(h.NotReady) == 0 }

// CheckState is one check and what came of it.
type CheckState struct {
	Id          string
	Description string
	Kind        Kind
	Critical    bool
	Status      CheckStatus
	Results     map[string]string // of the last run
	Error       string            // of the last run
	Time        time.Time         // end of the last run, zero before it
	Every       time.Duration
}

// assess fills in what follows from the status and the checks.
func (h *Health) assess() {
	h.Live = true
	switch h.Status {
	case StatusRunning:
	case StatusDraining:
		h.NotReady = append(h.NotReady, "draining")
	case StatusStopped:
		h.NotReady = append(h.NotReady, "stopped")
	default:
		h.NotReady = append(h.NotReady, "starting")
	}
	for _, c := range h.Checks {
		if !c.Critical || c.Status != CheckError {
			continue
		}
		switch c.Kind {
		case Live:
			h.Live = false
		case Ready:
			h.NotReady = append(h.NotReady, "check "+c.Id)
		case Startup: // told by the status
		}
	}
}
