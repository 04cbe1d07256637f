package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/micro/go-platform/auth"
	"github.com/micro/go-platform/auth/authtest"
	"github.com/micro/go-platform/internal/rpcerr"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func resign(token, header string, sign func(input string) []byte) string {
	input := b64(header) + "." + strings.Split(token, ".")[1]
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// TestTokenAttacks: each is refused with 401, none has a key fetched, and none
// is in the error.
func TestTokenAttacks(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	i, now := w.issuer, time.Now().Unix()
	good := i.Token("a", nil)
	if _, err := authorize(a, good); err != nil {
		t.Fatal(err)
	}
	kid := i.KeyID()
	var set struct{ Keys []struct{ X string } }
	if err := json.Unmarshal(i.Keys(), &set); err != nil {
		t.Fatal(err)
	}
	public, _ := base64.RawURLEncoding.DecodeString(set.Keys[0].X) // a wrong one fails below
	_, mine, _ := ed25519.GenerateKey(rand.Reader)                 // the reader of random bits does not fail
	myKey := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(mine.Public().(ed25519.PublicKey))}
	bySelf := func(header map[string]any) string {
		header["typ"] = "at+jwt"
		raw, _ := json.Marshal(header) // a map of strings
		return resign(good, string(raw), func(in string) []byte { return ed25519.Sign(mine, []byte(in)) })
	}
	head := func(change map[string]any) string { return i.Sign(change, i.Claims("a", nil)) }
	body := func(change map[string]any) string { return i.Token("a", change) }
	parts := strings.Split(good, ".")

	attacks := map[string]string{
		"empty":                         "",
		"alg HS256 with the public key": resign(good, `{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`, func(in string) []byte { m := hmac.New(sha256.New, public); m.Write([]byte(in)); return m.Sum(nil) }),
		"alg RS256 of an Ed25519 key":   head(map[string]any{"alg": "RS256"}),
		"alg ES256 of an Ed25519 key":   head(map[string]any{"alg": "ES256"}),
		"alg of the wrong case":         head(map[string]any{"alg": "eddsa"}),
		"no alg":                        head(map[string]any{"alg": nil}),
		"jwk: brings its own key":       bySelf(map[string]any{"alg": "EdDSA", "kid": kid, "jwk": myKey}),
		"jwk under a good signature":    head(map[string]any{"jwk": myKey}),
		"jku":                           head(map[string]any{"jku": "https://attacker.example/keys"}),
		"x5u":                           head(map[string]any{"x5u": "https://attacker.example/cert"}),
		"x5c":                           head(map[string]any{"x5c": []string{"MIIB"}}),
		"crit":                          head(map[string]any{"crit": []string{"exp"}, "exp": 1}),
		"b64 false":                     head(map[string]any{"b64": false, "crit": []string{"b64"}}),
		"kid unknown":                   bySelf(map[string]any{"alg": "EdDSA", "kid": "mine"}),
		"kid known, other key":          bySelf(map[string]any{"alg": "EdDSA", "kid": kid}),
		"no kid":                        head(map[string]any{"kid": nil}),
		"kid traversal":                 head(map[string]any{"kid": "../../../../dev/null"}),
		"kid injection":                 head(map[string]any{"kid": kid + "' OR 1=1 --"}),
		"kid NUL":                       head(map[string]any{"kid": kid + "\x00"}),
		"kid no string":                 head(map[string]any{"kid": []string{kid}}),
		"typ JWT: an id token":          head(map[string]any{"typ": "JWT"}),
		"typ rt+jwt: a refresh token":   head(map[string]any{"typ": "rt+jwt"}),
		"typ missing":                   head(map[string]any{"typ": nil}),
		"typ duplicate":                 i.SignRaw([]byte(`{"alg":"EdDSA","typ":"JWT","typ":"at+jwt","kid":"`+kid+`"}`), mustJSON(i.Claims("a", nil))),
		"header field in another case":  i.SignRaw([]byte(`{"ALG":"EdDSA","TYP":"at+jwt","KID":"`+kid+`"}`), mustJSON(i.Claims("a", nil))),
		"iss wrong":                     body(map[string]any{"iss": "https://attacker.example"}),
		"iss missing":                   body(map[string]any{"iss": nil}),
		"aud missing":                   body(map[string]any{"aud": nil}),
		"aud empty string":              body(map[string]any{"aud": ""}),
		"aud empty array":               body(map[string]any{"aud": []string{}}),
		"aud of others":                 body(map[string]any{"aud": []string{"shop", "shop.orders-2"}}),
		"aud prefix":                    body(map[string]any{"aud": "go-platfor"}),
		"aud no string":                 body(map[string]any{"aud": map[string]any{"shop.orders": true}}),
		"expired beyond the leeway":     body(map[string]any{"iat": now - 1000, "nbf": now - 1000, "exp": now - 61}),
		"exp missing":                   body(map[string]any{"exp": nil}),
		"exp null":                      i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte(`{"iss":"test-issuer","sub":"a","client_id":"a","aud":"shop.orders","type":"service","jti":"j","iat":1,"exp":null}`)),
		"exp huge":                      body(map[string]any{"exp": int64(1) << 60}),
		"exp beyond int64":              body(map[string]any{"exp": json.Number("1e40")}),
		"exp a string":                  body(map[string]any{"exp": "9999999999"}),
		"exp negative":                  body(map[string]any{"exp": -1}),
		"lives for a year":              body(map[string]any{"exp": now + 365*86400}),
		"lives for a year, iat fitting": body(map[string]any{"iat": now + 364*86400, "exp": now + 365*86400}),
		"nbf in the future":             body(map[string]any{"nbf": now + 120}),
		"iat in the future":             body(map[string]any{"iat": now + 120, "exp": now + 900}),
		"iat missing":                   body(map[string]any{"iat": nil}),
		"jti missing":                   body(map[string]any{"jti": nil}),
		"client_id missing":             body(map[string]any{"client_id": nil}),
		"sub missing":                   body(map[string]any{"sub": nil}),
		"sub with a line break":         body(map[string]any{"sub": "a\nb"}),
		"sub with NUL":                  body(map[string]any{"sub": "a\x00"}),
		"type unknown":                  body(map[string]any{"type": "root"}),
		"duplicate sub":                 i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte(fmt.Sprintf(`{"sub":"a","sub":"admin",%s`, string(mustJSON(i.Claims("a", map[string]any{"sub": nil}))[1:])))),
		"sub in two cases":              i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte(fmt.Sprintf(`{"SUB":"admin",%s`, string(mustJSON(i.Claims("a", map[string]any{"sub": nil}))[1:])))),
		"claims with something after":   i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), append(mustJSON(i.Claims("a", nil)), `{"sub":"admin"}`...)),
		"claims no object":              i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte(`[]`)),
		"claims broken UTF-8":           i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte("{\"sub\":\"\xff\"}")),
		"too many roles":                body(map[string]any{"roles": make([]string, 65)}),
		"too many scopes":               body(map[string]any{"scope": strings.Repeat("s ", 65)}),
		"signature cut":                 good[:len(good)-4],
		"signature in another form":     variant(good),
		"claims in another form":        parts[0] + "." + variant(parts[1]) + "." + parts[2],
		"aud null":                      body(map[string]any{"aud": json.RawMessage("null")}),
		"sub of half a character":       i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte(fmt.Sprintf(`{"sub":"a\ud800",%s`, string(mustJSON(i.Claims("a", map[string]any{"sub": nil}))[1:])))),
		"signature missing":             parts[0] + "." + parts[1] + ".",
		"signature of another token":    parts[0] + "." + parts[1] + "." + strings.Split(i.Token("b", nil), ".")[2],
		"claims replaced":               parts[0] + "." + b64(`{"sub":"admin"}`) + "." + parts[2],
		"two parts":                     parts[0] + "." + parts[1],
		"four parts":                    good + "." + parts[2],
		"five parts, as if encrypted":   good + "..",
		"thousands of dots":             strings.Repeat(".", 8000),
		"dots in the signature":         good + strings.Repeat(".", 7000),
		"1 MB":                          good + strings.Repeat("A", 1<<20),
		"just over 8 KB":                body(map[string]any{"meta": map[string]string{"x": strings.Repeat("x", 6500)}}),
		"JSON serialization":            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"padding":                       good + "=",
		"line break that base64 skips":  parts[0] + "." + parts[1][:4] + "\n" + parts[1][4:] + "." + parts[2],
		"CR LF at the end":              good + "\r\n",
		"NUL at the end":                good + "\x00",
		"space before":                  " " + good,
		"standard alphabet":             strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+",
		"deep claims":                   i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}), []byte(`{"x":`+strings.Repeat("[", 4000)+strings.Repeat("]", 1000))),
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE"} {
		h := fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, none, kid)
		attacks["alg "+none] = b64(h) + "." + parts[1] + "."
		attacks["alg "+none+" with a signature"] = b64(h) + "." + parts[1] + "." + parts[2]
	}
	watches, calls := w.srv.watches.Load(), w.srv.calls.Load()
	for name, token := range attacks {
		_, err := authorize(a, token)
		if !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(token) > 40 && (strings.Contains(err.Error(), token[:40]) || len(err.Error()) > 200) {
			t.Errorf("%s: the token is in the error: %.300s", name, err)
		}
	}
	for range 2000 { // a flood of keys nobody knows
		if _, err := authorize(a, head(map[string]any{"kid": rand.Text()})); !errors.Is(err, auth.ErrInvalidToken) {
			t.Fatal(err)
		}
	}
	if w.srv.watches.Load() != watches || w.srv.calls.Load() != calls {
		t.Error("unknown keys had something fetched")
	}
	if _, err := authorize(a, good); err != nil {
		t.Errorf("the good one afterwards: %v", err)
	}
}

// variant returns base64 with other bits at the end that mean nothing.
func variant(encoded string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(encoded) - 1
	return encoded[:last] + string(alphabet[strings.IndexByte(alphabet, encoded[last])^1])
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func TestGoodTokens(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	i, now := w.issuer, time.Now().Unix()
	for name, token := range map[string]string{
		"plain":                    i.Token("a", nil),
		"ES256":                    i.SignES256(i.Claims("a", nil)),
		"aud in an array":          i.Token("a", map[string]any{"aud": []string{"other", "shop.orders"}}),
		"typ with application/":    i.Sign(map[string]any{"typ": "application/at+jwt"}, i.Claims("a", nil)),
		"typ in upper case":        i.Sign(map[string]any{"typ": "AT+JWT"}, i.Claims("a", nil)),
		"expired by the leeway":    i.Token("a", map[string]any{"iat": now - 900, "nbf": now - 900, "exp": now - 50}),
		"nbf by the leeway":        i.Token("a", map[string]any{"nbf": now + 50}),
		"no nbf":                   i.Token("a", map[string]any{"nbf": nil}),
		"claims nobody knows":      i.Token("a", map[string]any{"x": map[string]any{"y": []int{1}}}),
		"a user":                   i.Token("a", map[string]any{"type": "user"}),
		"names in other alphabets": i.Token("müller", nil),
		"escapes":                  i.SignRaw(mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": i.KeyID()}), []byte(fmt.Sprintf(`{"sub":"a\ud83d\ude00\u00e4","x":"\\ud800 \" ",%s`, string(mustJSON(i.Claims("a", map[string]any{"sub": nil}))[1:])))),
	} {
		if _, err := authorize(a, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A clock that jumps changes nothing but whether an expiry is beyond the leeway.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			w := newWorld(t).up()
			clock := &clock{}
			a := w.started(auth.Now(clock.now))
			token, err := a.Token()
			if err != nil {
				t.Fatal(err)
			}
			cached, fresh := w.issuer.Token("a", nil), w.issuer.Token("a", nil)
			if _, err := authorize(a, cached); err != nil {
				t.Fatal(err)
			}
			clock.jump.Store(int64(jump))
			if again, err := a.Token(); err != nil || again != token {
				t.Errorf("own token: %v", err)
			}
			if _, err := authorize(a, cached); err != nil {
				t.Errorf("verified before the jump: %v", err)
			}
			if _, err := authorize(a, fresh); !errors.Is(err, auth.ErrInvalidToken) {
				t.Errorf("verified after the jump: %v", err)
			}
			clock.jump.Store(int64(jump / 70)) // within the leeway
			if _, err := authorize(a, fresh); err != nil {
				t.Errorf("verified by a clock within the leeway: %v", err)
			}
		})
	}
}

// Nothing that is logged holds a token or the secret.
func TestLogHoldsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.srv.fail.Store(401)
	var log bytes.Buffer
	a := w.auth(auth.Logger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = a.Token() // it is refused, which is logged
	w.up()
	_, _ = a.Token() // it may be refused still
	w.srv.fail.Store(0)
	w.knows(a)
	w.stop()
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if log.Len() == 0 || strings.Contains(log.String(), "s3cret") || strings.Contains(log.String(), "eyJ") {
		t.Errorf("%s", log.String())
	}
	for _, text := range []string{fmt.Sprint(a), fmt.Sprintf("%v %+v", a.String(), authtest.IssuerName)} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("%s", text)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := authtest.NewIssuer(f)
	a := auth.Offline(i.Keys())
	good := i.Token("a", nil)
	f.Add(good)
	f.Add(i.SignES256(i.Claims("a", nil)))
	f.Add(strings.Repeat(".", 100))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := authorize(a, token)
		if (err == nil) != (got != nil) || err != nil && !errors.Is(err, auth.ErrInvalidToken) {
			t.Fatalf("%v %v", got, err)
		}
		if got != nil && got.Account() != "a" {
			t.Fatalf("a token of %q", got.Account())
		}
	})
}

// FuzzClaims signs whatever it is given: what gets in has an account, an end,
// and no name of ours in a forged place.
func FuzzClaims(f *testing.F) {
	i := authtest.NewIssuer(f)
	a := auth.Offline(i.Keys())
	header := mustJSON(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": i.KeyID()})
	f.Add(header, mustJSON(i.Claims("a", nil)))
	f.Add(header, []byte(`{"sub":"a","meta":{"sub":"b"}}`))
	f.Add([]byte(`{}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		got, err := authorize(a, i.SignRaw(header, payload))
		if err != nil {
			return
		}
		var c map[string]any
		if json.Unmarshal(payload, &c) != nil || got.Account() != c["sub"] || got.ExpiresAt.Unix() <= time.Now().Unix()-61 {
			t.Fatalf("%s: %+v", payload, got)
		}
	})
}

// A refusal says why, the same at the service and at its caller.
func TestRefusalsSayWhy(t *testing.T) {
	w := newWorld(t).up()
	a := w.started()
	i, now := w.issuer, time.Now().Unix()
	ended := i.Token("a", nil)
	if _, err := authorize(a, ended); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(&auth.Token{AccessToken: ended}); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(i.Token("a", nil), ".")
	for why, token := range map[string]string{
		"expired":                     i.Token("a", map[string]any{"iat": now - 1000, "nbf": now - 1000, "exp": now - 61}),
		"revoked":                     ended,
		"for another audience":        i.Token("a", map[string]any{"aud": "other"}),
		"of another issuer":           i.Token("a", map[string]any{"iss": "https://other.example"}),
		"wrong signature":             parts[0] + "." + parts[1] + "." + strings.Split(i.Token("b", nil), ".")[2],
		"unknown key":                 authtest.NewIssuer(t).Sign(map[string]any{"kid": "other"}, i.Claims("a", nil)),
		"not an access token":         i.Sign(map[string]any{"typ": "JWT"}, i.Claims("a", nil)),
		"not valid yet":               i.Token("a", map[string]any{"nbf": now + 120}),
		"a required claim is missing": i.Token("a", map[string]any{"exp": nil}),
		"valid for too long":          i.Token("a", map[string]any{"exp": now + 365*86400}),
		"not a signed token":          "garbage",
	} {
		_, err := authorize(a, token)
		if !errors.Is(err, auth.ErrInvalidToken) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
			continue
		}
		far := rpcerr.From(t.Context(), "call", rpcerr.To("shop", err))
		if !errors.Is(far, auth.ErrInvalidToken) || !strings.Contains(far.Error(), why) || strings.Count(far.Error(), "not authenticated") != 1 {
			t.Errorf("%s, at the caller: %v", why, far)
		}
	}
}
