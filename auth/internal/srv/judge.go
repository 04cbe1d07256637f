package srv

import "context"

// judge is guard for a call whose message was not read yet, see guard.Judge.
func (f *feed) judge(_ context.Context, method, raw string) (string, error) {
	if needs(method) == needNothing {
		return "", nil
	}
	if raw == "" {
		return "", errToken
	}
	c, err := f.decide(method, raw)
	if err != nil {
		return "", err
	}
	return c.Subject, nil
}
