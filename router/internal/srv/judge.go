package srv

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// minVolume is how many calls of one caller to one node say something.
const minVolume = 10

// judgeInterval bounds how often the callers of a service are asked: it is what
// takes time when they are many.
const judgeInterval = 400 * time.Millisecond

// sight is how one caller saw one node in the window.
type sight struct {
	outcomes
	node        *node
	caller      *caller
	consecutive int64
}

func (s sight) failureRate() float64 { return float64(s.failed()) / float64(s.calls()) }

// sights returns what each caller saw that reports by RPC: anybody can publish
// on the topic, so what it says counts in Stats and decides nothing. Of nodes
// that are ejected, what probes say is not a measure for others.
func (t *table) sights(slot int64) [][]sight {
	number := make(map[*caller]int)
	var all [][]sight
	for _, n := range t.nodes {
		if !n.ejection.until.IsZero() {
			continue
		}
		for _, p := range n.pairs {
			if p.caller.topic {
				continue
			}
			s := sight{node: n, caller: p.caller, consecutive: p.consecutive}
			p.calls.each(slot, n.ejection.since, s.outcomes.add)
			if s.calls() == 0 {
				continue
			}
			i, known := number[p.caller]
			if !known {
				i = len(all)
				number[p.caller] = i
				all = append(all, make([]sight, 0, min(len(t.nodes), 128)))
			}
			all[i] = append(all[i], s)
		}
	}
	return all
}

// judgement is what the callers together say of a node.
type judgement struct {
	ballots       []ballot       // of who called it often enough, beside other nodes
	causes        map[string]int // of the votes for an ejection
	calls, failed int64          // of those who voted so

	// What comes of it, by machine: however many callers one makes up, it has
	// one voice.
	machines, votes int
	score           float64 // median of the machines' medians
}

// ballot is what one caller says.
type ballot struct {
	place string
	score float64
	vote  bool // for an ejection
}

func (j *judgement) add(s sight, score float64, cause string) {
	j.ballots = append(j.ballots, ballot{s.caller.place, score, cause != ""})
	if cause == "" {
		return
	}
	if j.causes == nil {
		j.causes = make(map[string]int)
	}
	j.causes[cause]++
	j.calls += s.calls()
	j.failed += s.failed()
}

// count is called when all have spoken. Of two medians it takes the upper one,
// so that less than half of the voices do nothing.
func (j *judgement) count() {
	slices.SortFunc(j.ballots, func(a, b ballot) int {
		return cmp.Or(strings.Compare(a.place, b.place), cmp.Compare(a.score, b.score))
	})
	scores := make([]float64, 0, len(j.ballots))
	for rest := j.ballots; len(rest) > 0; {
		n, votes := 0, 0
		for ; n < len(rest) && rest[n].place == rest[0].place; n++ {
			if rest[n].vote {
				votes++
			}
		}
		if 2*votes > n {
			j.votes++
		}
		scores = append(scores, rest[n/2].score)
		rest = rest[n:]
	}
	slices.Sort(scores)
	j.machines, j.score = len(scores), scores[len(scores)/2]
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
				j = &judgement{ballots: make([]ballot, 0, len(all))}
				found[s.node] = j
			}
			j.add(s, scores[i], cause)
		}
	}
	for _, j := range found {
		j.count()
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
