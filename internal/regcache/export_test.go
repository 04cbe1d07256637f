package regcache

import "time"

// Hold takes the text of a snapshot file as Start does.
func Hold(text []byte) error {
	services, err := parse(text)
	if err != nil {
		return err
	}
	c := New(nil)
	for _, s := range services {
		c.answer(s.Name, c.record(s.Name), clone(services), 0)
	}
	return nil
}

// Resync sets how often every service held is fetched again.
func Resync(d time.Duration) Option { return func(o *options) { o.resync = d } }

// Poll sets how often services are fetched while the registry cannot be watched.
func Poll(d time.Duration) Option { return func(o *options) { o.poll = d } }
