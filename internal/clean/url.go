package clean

import (
	"regexp"
	"strings"
)

// What of URLs, and of the errors about them, is secret: a password, a token in
// the place of a user, a parameter with a telling name, and what Go shows of a
// password that was taken for a port or for a name to look up.
var (
	urlPasswords = regexp.MustCompile(`(://[^\s/@:"']*):[^\s"'@]*?(?:@|%40)`)
	urlUsers     = regexp.MustCompile(`(://)[^\s/@:"']+@`)
	passwords    = regexp.MustCompile(`([\w.+-]+):[^\s"'/@,]+@`)
	lookups      = regexp.MustCompile(`(lookup [^\s:]+):\S*[^\s:]`)
	parameters   = regexp.MustCompile(`(?i)([?&][\w-]*(?:password|passwd|pwd|secret|token|key|signature)=)[^\s&"']+`)
	badPorts     = regexp.MustCompile(`(invalid port ):?(\\?"):[^"]*"`)
)

// URLs returns text without the secrets of the URLs in it. An error of a driver,
// or of Go's own URL parser, often repeats the URL that it was given, with the
// password of a database or a broker.
func URLs(text string) string {
	if !strings.ContainsAny(text, "@=%") && !strings.Contains(text, "invalid port") && !strings.Contains(text, "lookup ") {
		return text
	}
	text = lookups.ReplaceAllString(text, "$1:...")
	text = badPorts.ReplaceAllString(text, `$1$2...$2`)
	text = urlPasswords.ReplaceAllString(text, "$1:...@")
	text = urlUsers.ReplaceAllString(text, "$1...@")
	text = passwords.ReplaceAllString(text, "$1:...@")
	return parameters.ReplaceAllString(text, "$1...")
}

// URLError returns an error with the text URLs of that of err, which it wraps. It
// returns err itself when there is nothing to hide.
func URLError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if hidden := URLs(text); hidden != text {
		return &urlError{hidden, err}
	}
	return err
}

type urlError struct {
	text string
	err  error
}

func (e *urlError) Error() string { return e.text }
func (e *urlError) Unwrap() error { return e.err }
