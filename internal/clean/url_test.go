package clean_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/micro/go-platform/internal/clean"
)

func TestURLsHaveNoSecrets(t *testing.T) {
	parse := func(raw string) string {
		_, err := url.Parse(raw)
		return fmt.Sprint(err)
	}
	for in, want := range map[string]string{
		"plain text":                                       "plain text",
		"http://host:8080/path?q=1":                        "http://host:8080/path?q=1",
		"ask ann@example.org":                              "ask ann@example.org",
		"dial tcp 127.0.0.1:80: at 1@2":                    "dial tcp 127.0.0.1:80: at 1@2",
		"nats://ann:s3cret@host:4222":                      "nats://ann:...@host:4222",
		"nats://s3cret@host:4222":                          "nats://...@host:4222",
		"amqp://:s3cret@host":                              "amqp://:...@host",
		"a://u:s3cret@h,b://v:s3cret@i":                    "a://u:...@h,b://v:...@i",
		"a://u:s3cret@h,v:s3cret@i:1":                      "a://u:...@h,v:...@i:1",
		"mysql://u:s3/cret@host/name":                      "mysql://u:...@host/name",
		"u:s3cret@host:3306":                               "u:...@host:3306",
		"http://u:s3cret%40host:1/v1":                      "http://u:...@host:1/v1",
		"lookup u:s3cret@host: no such host":               "lookup u:...: no such host",
		"dial tcp: lookup u:s3cret: no such host":          "dial tcp: lookup u:...: no such host",
		"dial tcp: lookup host on [::1]:53: no such host":  "dial tcp: lookup host on [::1]:53: no such host",
		"u:s3cret@[::1]:3306":                              "u:...@[::1]:3306",
		`"redis://u:s3cret@h" is not`:                      `"redis://u:...@h" is not`,
		"https://h/x?access_token=s3cret&a=b":              "https://h/x?access_token=...&a=b",
		"https://h/x?a=b&API_KEY=s3cret":                   "https://h/x?a=b&API_KEY=...",
		parse("nats://u:s3cret/x@host"):                    `parse "nats://u:...@host": invalid port "..." after host`,
		fmt.Sprintf("%q", parse("nats://u:s3cret/x@host")): `"parse \"nats://u:...@host\": invalid port \"...\" after host"`,
		parse("nats://u:s3cret@host:port"):                 `parse "nats://u:...@host:port": invalid port "..." after host`,
		parse("nats://u:s3cret@ho st"):                     `parse "nats://u:...@ho st": invalid character " " in host name`,
		parse("nats://u:s3cret@host\x7f"):                  `parse "nats://u:...@host\x7f": net/url: invalid control character in URL`,
	} {
		if got := clean.URLs(in); got != want || strings.Contains(got, "s3") {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestURLError(t *testing.T) {
	one := errors.New("nothing to hide")
	if got := clean.URLError(one); !errors.Is(got, one) || got.Error() != one.Error() || clean.URLError(nil) != nil {
		t.Errorf("got %v", got)
	}
	hidden := clean.URLError(fmt.Errorf("dial redis://u:s3cret@h: %w", one))
	if !errors.Is(hidden, one) || hidden.Error() != "dial redis://u:...@h: nothing to hide" {
		t.Errorf("got %v", hidden)
	}
}

func FuzzURLs(f *testing.F) {
	f.Add("nats://", "ann", "s3cret", "@host")
	f.Add("x ", "", "a/b", "@h:1,c://d")
	f.Fuzz(func(t *testing.T, before, user, password, after string) {
		if password == "" || strings.ContainsAny(user+password, " \t\r\n\f\v\"'@/:?&=.") || strings.Contains(before+user+after, password) {
			return // it is not a URL with a password
		}
		if got := clean.URLs(before + "a://" + user + ":" + password + "@host" + after); strings.Contains(got, ":"+password+"@") {
			t.Errorf("got %q", got)
		}
	})
}
