package compact_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatehouse.dev/gatehouse/internal/compact"
)

var b64 = base64.RawURLEncoding

func newEC(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign256 makes an ES256 token of any header and payload.
func sign256(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	signed := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + b64.EncodeToString(sig)
}

func TestHeader(t *testing.T) {
	key := newEC(t, elliptic.P256())
	pub, err := compact.NewKey("k", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, header, err string
	}{
		{"all", `{"alg":"ES256","kid":"k","typ":"JWT"}`, ""},
		{"only alg", ` {"alg":"ES256"} `, ""},
		{"no alg", `{"kid":"k"}`, "alg is none"},
		{"empty", `{}`, "alg is none"},
		{"none", `{"alg":"none"}`, "alg is none"},
		{"symmetric", `{"alg":"HS256"}`, "alg is none"},
		{"case of the name", `{"Alg":"ES256"}`, "alg is none"},
		{"case of the value", `{"alg":"es256"}`, "alg is none"},
		{"alg is a number", `{"alg":256}`, "not a string"},
		{"kid is null", `{"alg":"ES256","kid":null}`, "not a string"},
		{"alg twice", `{"alg":"ES256","alg":"ES256"}`, "same name"},
		{"alg twice, once escaped", `{"alg":"ES256","\u0061lg":"none"}`, "same name"},
		{"crit", `{"alg":"ES256","crit":["exp"]}`, `"crit" is not allowed`},
		{"b64", `{"alg":"ES256","b64":false}`, `"b64" is not allowed`},
		{"jwk", `{"alg":"ES256","jwk":{}}`, `"jwk" is not allowed`},
		{"jku", `{"alg":"ES256","jku":"https://evil"}`, `"jku" is not allowed`},
		{"x5c", `{"alg":"ES256","x5c":[]}`, `"x5c" is not allowed`},
		{"x5u", `{"alg":"ES256","x5u":"https://evil"}`, `"x5u" is not allowed`},
		{"a token in it", `{"alg":"ES256","cty":"JWT"}`, `"cty" is not allowed`},
		{"compressed", `{"alg":"ES256","zip":"DEF"}`, `"zip" is not allowed`},
		{"encrypted", `{"alg":"ES256","enc":"A128GCM"}`, `"enc" is not allowed`},
		{"thumbprint", `{"alg":"ES256","x5t":"aGVsbG8","x5t#S256":"aGVsbG8"}`, ""},
		{"unknown", `{"alg":"ES256","foo":{"jwk":1}}`, ""},
		{"array", `["ES256"]`, "not a JSON object"},
		{"not JSON", `alg`, "not a JSON object"},
		{"tail", `{"alg":"ES256"}x`, "after the end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := compact.Parse(sign256(t, key, tt.header, `{}`))
			if err == nil {
				err = tok.Verify(pub)
			}
			checkError(t, err, tt.err)
		})
	}
}

func TestForm(t *testing.T) {
	key := newEC(t, elliptic.P256())
	good := sign256(t, key, `{"alg":"ES256"}`, `{"a":1}`)
	parts := strings.Split(good, ".")
	tests := []struct{ name, token, err string }{
		{"good", good, ""},
		{"empty", "", "three parts"},
		{"two parts", parts[0] + "." + parts[1], "three parts"},
		{"four parts", good + ".", "three parts"},
		{"only points", strings.Repeat(".", 10000), "three parts"},
		{"JSON serialization", `{"payload":"","signature":""}`, "three parts"},
		{"no signature", parts[0] + "." + parts[1] + ".", "no signature"},
		{"line break", parts[0] + "." + parts[1] + "\n." + parts[2], "line break"},
		{"carriage return", parts[0] + "\r." + parts[1] + "." + parts[2], "line break"},
		{"space", " " + good, "base64url"},
		{"padding", good + "==", "base64url"},
		{"standard alphabet", parts[0] + "." + parts[1] + ".+" + parts[2][1:], "base64url"},
		{"spare bits", parts[0] + "." + parts[1][:len(parts[1])-1] + string(parts[1][len(parts[1])-1]+1) + "." + parts[2], "base64url"},
		{"too long", good + strings.Repeat("A", compact.MaxSize), "16 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := compact.Parse(tt.token)
			checkError(t, err, tt.err)
		})
	}
}

// The standard library's decoder skips line breaks, however many there are.
func TestNoLineBreakIsSkipped(t *testing.T) {
	key := newEC(t, elliptic.P256())
	for spaces := range 4 { // so that the parts have all lengths
		good := sign256(t, key, `{"alg":"ES256"}`+strings.Repeat(" ", spaces), `{"a":1}`+strings.Repeat(" ", spaces))
		if _, err := compact.Parse(good); err != nil {
			t.Fatal(err)
		}
		for at := range len(good) + 1 {
			for n := 1; n < 9; n++ {
				broken := good[:at] + strings.Repeat("\r\n", n)[n%2:][:n] + good[at:]
				if _, err := compact.Parse(broken); err == nil || !strings.HasSuffix(err.Error(), "line break") {
					t.Errorf("%q: %v", broken, err)
				}
			}
		}
	}
}

// No prefix, suffix or flip of one bit of a token is accepted (CVE-2026-27840:
// a truncated token was).
func TestNothingNearATokenIsAccepted(t *testing.T) {
	key := newEC(t, elliptic.P256())
	pub, err := compact.NewKey("", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := sign256(t, key, `{"alg":"ES256"}`, `{"sub":"jane"}`)
	accepted := func(token string) bool {
		tok, err := compact.Parse(token)
		return err == nil && tok.Verify(pub) == nil
	}
	if !accepted(good) {
		t.Fatal("the token itself is refused")
	}
	for i := range good {
		if i > 0 && (accepted(good[:i]) || accepted(good[i:])) {
			t.Errorf("accepted when cut at %d", i)
		}
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			if accepted(string(b)) {
				t.Errorf("accepted with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

func TestNewKey(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := newEC(t, elliptic.P256())
	tests := []struct {
		name   string
		public crypto.PublicKey
		only   []string
		err    string
	}{
		{"P-256", p256.Public(), nil, ""},
		{"P-256 narrowed", p256.Public(), []string{"ES256", "RS256"}, ""},
		{"P-521", newEC(t, elliptic.P521()).Public(), nil, ""},
		{"P-224", newEC(t, elliptic.P224()).Public(), nil, "no algorithm for curve"},
		{"RSA-1024", small.Public(), nil, "need 2048"},
		{"Ed25519", edwards, nil, "no algorithm"},
		{"Ed25519 asked for", edwards, []string{"EdDSA"}, ""},
		{"Ed25519 for another algorithm", edwards, []string{"ES256"}, "cannot be used"},
		{"short Ed25519", edwards[:31], []string{"EdDSA"}, "no algorithm"},
		{"private", p256, nil, "no algorithm"},
		{"other curve's algorithm", p256.Public(), []string{"ES384"}, "cannot be used"},
		//lint:ignore SA1019 there is no other way to make a key that is none
		{"not on the curve", &ecdsa.PublicKey{Curve: elliptic.P256(), X: p256.X, Y: p256.X}, nil, "not a point"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := compact.NewKey("", tt.public, tt.only...)
			checkError(t, err, tt.err)
		})
	}
}

func TestAlgorithmNeverChoosesTheKey(t *testing.T) {
	ec := newEC(t, elliptic.P256())
	tok, err := compact.Parse(sign256(t, ec, `{"alg":"RS256"}`, `{}`))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := compact.NewKey("", ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Verify(pub); !errors.Is(err, compact.ErrSignature) {
		t.Errorf("Verify = %v, want ErrSignature", err)
	}
}

// The example of RFC 8037 appendix A.4.
func TestEdDSA(t *testing.T) {
	const token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	x, err := b64.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	key, err := compact.NewKey("", ed25519.PublicKey(x), compact.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := compact.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Verify(key); err != nil {
		t.Errorf("Verify = %v, want nil", err)
	}
	forged, err := compact.Parse(strings.Replace(token, ".hgyY", ".hgyZ", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := forged.Verify(key); !errors.Is(err, compact.ErrSignature) {
		t.Errorf("Verify of a forgery = %v, want ErrSignature", err)
	}
}

func TestClaims(t *testing.T) {
	text := `{"s":"a\u00e9\ud83d\ude00\n\"","n":1.9,"aud":["a","b"],"one":"a","none":[],"mixed":["a",1],` +
		`"o":{"x":{"y":"z"}},"null":null,"big":1e308,"neg":-1,"str":"1","exp":2147483648}`
	o, err := compact.ParseObject([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := o.String("s"); s != "aé😀\n\"" || err != nil {
		t.Errorf("String = %q, %v", s, err)
	}
	for name, want := range map[string][]string{"aud": {"a", "b"}, "one": {"a"}, "none": {}, "absent": nil} {
		if got, err := o.Strings(name); !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("Strings(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]time.Time{"n": time.Unix(1, 0), "exp": time.Unix(1<<31, 0), "absent": {}} {
		if got, err := o.Time(name); !got.Equal(want) || err != nil {
			t.Errorf("Time(%q) = %v, %v, want %v", name, got, err, want)
		}
	}
	inner, err := o.Object("o")
	if err != nil {
		t.Fatal(err)
	}
	if inner, err = inner.Object("x"); err != nil {
		t.Fatal(err)
	}
	if s, err := inner.String("y"); s != "z" || err != nil {
		t.Errorf("inner String = %q, %v", s, err)
	}
	bad := map[string]func(string) error{
		"n": func(n string) error { _, err := o.String(n); return err }, "null": func(n string) error { _, err := o.String(n); return err },
		"mixed": func(n string) error { _, err := o.Strings(n); return err }, "o": func(n string) error { _, err := o.Strings(n); return err },
		"big": func(n string) error { _, err := o.Time(n); return err }, "neg": func(n string) error { _, err := o.Time(n); return err },
		"str": func(n string) error { _, err := o.Time(n); return err }, "aud": func(n string) error { _, err := o.Object(n); return err },
	}
	for name, read := range bad {
		if read(name) == nil {
			t.Errorf("%q was read as what it is not", name)
		}
	}
}

func TestLimits(t *testing.T) {
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	members := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = `"` + strings.Repeat("x", i) + `":0`
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	tests := []struct{ name, text, err string }{
		{"32 deep", nested(31), ""},
		{"33 deep", nested(32), "too deep"},
		{"very deep", nested(8000), "too deep"},
		{"64 members", members(64), ""},
		{"65 members", members(65), "too many members"},
		{"64 members twice", `{"a":` + members(64) + `,"b":` + members(64) + `}`, ""},
		{"same name in two objects", `{"a":{"a":1},"b":{"a":1}}`, ""},
		{"empty name twice", `{"":1,"a":2,"":3}`, "same name"},
		{"same name far behind", `{"aud":1,` + members(63)[1:len(members(63))-1] + `,"aud":1}`, "same name"},
		{"names of the same letters", `{"ab":1,"ba":2,"aab":3,"aba":4,"bab":5,"a":6,"":7}`, ""},
		{"same name inside", `{"a":{"b":1,"b":2}}`, "same name"},
		{"same name after an inner object", `{"a":{"b":1},"a":2}`, "same name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := compact.ParseObject([]byte(tt.text))
			checkError(t, err, tt.err)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("error %q, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func FuzzParse(f *testing.F) {
	key := newEC(f, elliptic.P256())
	f.Add(sign256(f, key, `{"alg":"ES256","kid":"a"}`, `{"iss":"x","aud":["y"]}`))
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		tok, err := compact.Parse(token)
		if err != nil {
			return
		}
		// There is one way to write a token: what was read gives it back.
		parts := strings.Split(token, ".")
		if len(parts) != 3 || b64.EncodeToString(tok.Payload()) != parts[1] {
			t.Errorf("%q is another form of a token", token)
		}
	})
}

func FuzzParseObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":"\u0041"}]}`, `{"a":-0.5e+1,"a":null}`, `{"a":"\ud800"}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := compact.ParseObject(text)
		if err != nil {
			return
		}
		// Whatever is accepted, the standard library reads the same.
		var std map[string]any
		if err := json.Unmarshal(text, &std); err != nil {
			t.Fatalf("%q is accepted, but not by encoding/json: %v", text, err)
		}
		same(t, o, std)
	})
}

// same compares an object with what the standard library reads.
func same(t *testing.T, o compact.Object, std map[string]any) {
	n := 0
	for range o.All() {
		n++
	}
	if n != len(std) {
		t.Errorf("%d members, want %d", n, len(std))
	}
	for name, v := range std {
		sameStrings(t, o, name)
		only := o.Only(name)
		var raw any
		if err := json.Unmarshal(o.Raw(name), &raw); err != nil || !reflect.DeepEqual(raw, v) || !o.Has(name) {
			t.Errorf("%q is %s, want %v", name, o.Raw(name), v)
		}
		switch v := v.(type) {
		case string:
			got, err := o.String(name)
			text, err2 := o.Text(name)
			if got != v || string(text) != v || err != nil || err2 != nil {
				t.Errorf("String(%q) = %q, Text = %q, want %q", name, got, text, v)
			}
		case map[string]any:
			in, err := o.Object(name)
			if err != nil {
				t.Fatal(err)
			}
			same(t, in, v)
			if in, err = only.Object(name); err != nil {
				t.Fatal(err)
			}
			same(t, in, v)
		case []any:
			var want []string
			for _, each := range v {
				if text, ok := each.(string); ok {
					want = append(want, text)
				}
			}
			got, err := o.Strings(name)
			if (err == nil) != (len(want) == len(v)) || err == nil && !slices.Equal(got, want) {
				t.Errorf("Strings(%q) = %q, %v, want %q", name, got, err, v)
			}
		}
	}
}

// sameStrings compares the two ways to look at strings.
func sameStrings(t *testing.T, o compact.Object, name string) {
	all, err := o.Strings(name)
	for v := o.First(); v.There(); v = v.Next() {
		if string(v.Name()) != name {
			continue
		}
		for _, usual := range [][]string{nil, all, append(slices.Clone(all), ""), all[:len(all)/2], append([]string{"\x00"}, all...)} {
			got, err2 := v.StringsLike(usual)
			if !slices.Equal(got, all) || (err2 == nil) != (err == nil) || err != nil && err2.Error() != err.Error() {
				t.Errorf("StringsLike(%q) of %q = %q, %v, and Strings = %q, %v", usual, name, got, err2, all, err)
			}
		}
	}
	hasAny := func(wanted ...string) (bool, error) {
		if v := o.Find(name); v.There() {
			return v.HasAny(wanted)
		}
		return false, nil
	}
	for _, wanted := range append(all, "none of them\x00") {
		found, err2 := hasAny("\x00", wanted)
		if found != slices.Contains(all, wanted) || (err2 == nil) != (err == nil) || err != nil && err2.Error() != err.Error() {
			t.Errorf("HasAny(%q, %q) = %t, %v, and Strings = %q, %v", name, wanted, found, err2, all, err)
		}
	}
	if found, _ := hasAny(); found {
		t.Errorf("HasAny(%q) finds one of none", name)
	}
}

// Every byte is seen, wherever it is in a string.
func TestEveryByteOfAString(t *testing.T) {
	for c := range 256 {
		for at := range 18 {
			for behind := range 10 {
				text := `{"` + strings.Repeat("k", at) + string([]byte{byte(c)}) + strings.Repeat("~", behind) + `":"` +
					strings.Repeat(" ", behind) + string([]byte{byte(c)}) + strings.Repeat("z", at) + `"}`
				_, err := compact.ParseObject([]byte(text))
				if good := json.Valid([]byte(text)) && utf8.ValidString(text); good != (err == nil) {
					t.Fatalf("%q: %v", text, err)
				}
			}
		}
	}
}

// The signature of a curve is checked in DER, with its numbers as they come.
func TestSignaturesOfEveryLength(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		private := newEC(t, curve)
		key, err := compact.NewKey("", private.Public())
		if err != nil {
			t.Fatal(err)
		}
		size := (curve.Params().BitSize + 7) / 8
		algorithm := map[int]string{32: "ES256", 48: "ES384", 66: "ES512"}[size]
		signed := b64.EncodeToString([]byte(`{"alg":"`+algorithm+`"}`)) + "." + b64.EncodeToString([]byte(`{}`))
		hash := map[int]crypto.Hash{32: crypto.SHA256, 48: crypto.SHA384, 66: crypto.SHA512}[size].New()
		hash.Write([]byte(signed))
		digest := hash.Sum(nil)
		for i := range 300 { // about one in 128 has a number that is a byte shorter
			r, s, err := ecdsa.Sign(rand.Reader, private, digest)
			if err != nil {
				t.Fatal(err)
			}
			raw := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
			for _, change := range []byte{0, 1} {
				raw[i%len(raw)] ^= change
				token, err := compact.Parse(signed + "." + b64.EncodeToString(raw))
				if err != nil {
					t.Fatal(err)
				}
				if got := token.Verify(key) == nil; got != (change == 0) {
					t.Fatalf("%s: r %x, s %x, with byte %d changed by %d: good %t", algorithm, r, s, i%len(raw), change, got)
				}
			}
		}
		for _, zero := range [][2]int{{0, size}, {size, 2 * size}, {0, 2 * size}} {
			raw := bytes.Repeat([]byte{1}, 2*size)
			clear(raw[zero[0]:zero[1]])
			token, err := compact.Parse(signed + "." + b64.EncodeToString(raw))
			if err != nil {
				t.Fatal(err)
			}
			if token.Verify(key) == nil {
				t.Errorf("%s: a zero is a good number of a signature", algorithm)
			}
		}
	}
}
