package routersrv

import (
	"slices"
)

// minVolume is how many calls of one caller to one node say something.
const minVolume = 10

// sight is how one caller saw one node in the window.
type sight struct {
	outcomes
	node        *node
	caller      *caller
	consecutive int64
}

func (s sight) failureRate() float64 { return float64(s.failed()) / float64(s.calls()) }

// sights returns what each caller saw that reports by RPC: anybody can publish
// on the topic, so what it says counts in Stats and decides nothing.
func (t *table) sights(slot int64) [][]sight {
	byCaller := make(map[*caller][]sight)
	for _, n := range t.nodes {
		if !n.ejection.until.IsZero() {
			continue // what probes of it say is no measure for others
		}
		for _, p := range n.pairs {
			if p.caller.topic {
				continue
			}
			s := sight{node: n, caller: p.caller, consecutive: p.consecutive}
			p.calls.each(slot, n.ejection.since, func(o *outcomes) { s.outcomes.add(*o) })
			if s.calls() > 0 {
				byCaller[p.caller] = append(byCaller[p.caller], s)
			}
		}
	}
	all := make([][]sight, 0, len(byCaller))
	for _, seen := range byCaller {
		all = append(all, seen)
	}
	return all
}

// judgement is what the callers together say of a node.
type judgement struct {
	observers     int               // who called it often enough, beside other nodes
	places        map[string]*voice // where they are
	causes        map[string]int    // of the votes for an ejection
	calls, failed int64             // of those who voted so
}

// voice is that of one machine: however many callers it makes up, it is one.
type voice struct {
	observers, votes int
	scores           []float64
}

// voices returns how many machines are for an ejection, of how many.
func (j *judgement) voices() (votes, all int) {
	for _, v := range j.places {
		if 2*v.votes > v.observers {
			votes++
		}
	}
	return votes, len(j.places)
}

// score is the median of the machines' medians, the upper one of two, so that
// less than half of them do nothing.
func (j *judgement) score() float64 {
	scores := make([]float64, 0, len(j.places))
	for _, v := range j.places {
		slices.Sort(v.scores)
		scores = append(scores, v.scores[len(v.scores)/2])
	}
	slices.Sort(scores)
	return scores[len(scores)/2]
}

func (j *judgement) add(s sight, score float64, cause string) {
	v := j.places[s.caller.place]
	if v == nil {
		v = &voice{}
		j.places[s.caller.place] = v
	}
	j.observers++
	v.observers++
	v.scores = append(v.scores, score)
	if cause != "" {
		v.votes++
		j.causes[cause]++
		j.calls += s.calls()
		j.failed += s.failed()
	}
}

// judge asks every caller. A caller compares a node only with others that it
// called itself: what is wrong with the caller or its network shows in all of
// them.
func judge(all [][]sight) map[*node]*judgement {
	found := make(map[*node]*judgement)
	for _, seen := range all {
		if len(seen) < 2 {
			continue
		}
		typical, scores := typicalFailures(seen), score(seen)
		low := lowSuccess(seen)
		for i, s := range seen {
			cause := suspicion(s, typical, low)
			if cause == "" && s.calls() < minVolume {
				continue
			}
			j := found[s.node]
			if j == nil {
				j = &judgement{places: make(map[string]*voice), causes: make(map[string]int)}
				found[s.node] = j
			}
			j.add(s, scores[i], cause)
		}
	}
	return found
}

func typicalFailures(seen []sight) float64 {
	rates := make([]float64, len(seen))
	for i, s := range seen {
		rates[i] = s.failureRate()
	}
	return median(rates)
}

// median is the lower one of two.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
