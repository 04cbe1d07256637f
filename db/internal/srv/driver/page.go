package driver

// Size returns how many bytes of an answer the record takes at most: numbers travel
// as text, too.
func (r *Record) Size() int { return len(r.Data) + 3*len(r.Metadata) + len(r.ID) + 128 }

// Page gathers what a search finds.
type Page struct {
	Records []*Record
	size    int
}

// Add adds the next record and reports whether the page is full: it has Limit
// records, or more than Bytes, of which the last one is to be the only excess.
func (p *Page) Add(q Query, r *Record) (full bool) {
	p.Records = append(p.Records, r)
	p.size += r.Size()
	return len(p.Records) >= q.Limit || p.size > q.Bytes
}

// The records that Chunks asks for: at first, and at most.
const (
	FirstChunk = 32
	MaxChunk   = 128
)

// Chunks fills a page by searches with low limits, each behind the last record
// of the one before. It is for databases that send an answer to its end, read
// or not: nobody knows how large the records are. Fetch gives what it finds to
// each, with the value of the term of q.Order, and may leave off when that
// returns false.
func (q Query) Chunks(fetch func(q Query, each func(r *Record, value string) bool) error) ([]*Record, error) {
	var page Page
	part := q
	for n := FirstChunk; ; n = min(2*n, MaxChunk) {
		part.Limit = min(n, q.Limit-len(page.Records))
		got, full := 0, false
		err := fetch(part, func(r *Record, value string) bool {
			got++
			part.After = &Cursor{ID: r.ID, Value: value}
			full = page.Add(q, r)
			return !full
		})
		if err != nil || full || got < part.Limit {
			return page.Records, err
		}
		part.Offset = 0
	}
}
