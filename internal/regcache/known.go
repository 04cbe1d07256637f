package regcache

// Known returns what is held of the service, nil when that is nothing. It
// never asks the registry and never waits.
func (c *Cache) Known(name string) *Snapshot {
	return c.warm(name)
}
