package balance

// alias samples by weight in constant time.
type alias struct {
	stay  []float32 // chance of staying at i
	other []int32   // where to go otherwise
	upTo  []float64 // cumulative shares
}

func newAlias(members []*Member) *alias {
	n, sum := len(members), 0.0
	for _, m := range members {
		sum += m.Weight
	}
	a := &alias{make([]float32, n), make([]int32, n), make([]float64, n)}
	scaled := make([]float64, n)
	var small, large []int
	total := 0.0
	for i, m := range members {
		total += m.Weight / sum
		a.upTo[i] = total
		scaled[i] = m.Weight / sum * float64(n)
		a.stay[i], a.other[i] = 1, int32(i)
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.stay[s], a.other[s] = float32(scaled[s]), int32(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large, small = large[:len(large)-1], append(small, l)
		}
	}
	return a
}

func (a *alias) sample(r uint64) int {
	i := int((r >> 32) * uint64(len(a.stay)) >> 32)
	if float32(r&0xffffff)/(1<<24) < a.stay[i] {
		return i
	}
	return int(a.other[i])
}

// cumulative returns where r lies on the line of all shares.
func (a *alias) cumulative(r uint64) int {
	at := float64(r>>11) / (1 << 53)
	low, high := 0, len(a.upTo)-1
	for low < high {
		if mid := (low + high) / 2; a.upTo[mid] <= at {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
