package regcache

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
