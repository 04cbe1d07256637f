package srv

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	pb "github.com/micro/go-platform/config/proto"
)

// chosen reports whether an instance gets what is rolled out. It depends on
// nothing else, so that all config-srv agree and an instance stays chosen while
// the percentage rises.
func chosen(r *pb.RolloutState, instance string, labels map[string]string) bool {
	if instance == "" {
		return false
	}
	for key, value := range r.Rollout.GetLabels() {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	return position(instance, r.Revision) < r.Rollout.GetPercent()
}

// position spreads instances over [0, 100), anew for each change so that not
// always the same ones are first.
func position(instance string, revision int64) float64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s", revision, instance))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53) * 100
}

func checkRollout(r *pb.Rollout) error {
	if !percentage(r.Percent) {
		return invalid("rollout.percent: %v is not within 0 and 100", r.Percent)
	}
	if err := checkLabels("rollout.labels", r.Labels); err != nil {
		return err
	}
	a := r.Abort
	switch {
	case a == nil:
		return nil
	case !word(a.Service, 256):
		return invalid("rollout.abort.service: %.64q is no name of a service", a.Service)
	case !percentage(a.MaxError) || !percentage(a.MaxIncrease):
		return invalid("rollout.abort.max_error, max_increase: not within 0 and 100")
	case a.MaxError == 0 && a.MaxIncrease == 0:
		return invalid("rollout.abort: neither max_error nor max_increase")
	case a.MinCalls < 0:
		return invalid("rollout.abort.min_calls: %d is negative", a.MinCalls)
	}
	return nil
}

func percentage(p float64) bool { return !math.IsNaN(p) && p >= 0 && p <= 100 }
