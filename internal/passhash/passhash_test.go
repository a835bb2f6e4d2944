package passhash_test

import (
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/passhash"
)

// Made by other programs: Apache's htpasswd, the argon2 command, and the crypt of
// the C library.
var foreign = []struct{ hash, password, work string }{
	{"$2y$10$oqqQjp3W9KbVSLyTn4gIsO.5XXNnGbzLI7ej4LKvcURm3j22HtZ7q", "correct horse", "bcrypt of cost 10"},
	{"$2y$10$7U83TGE3IXmuyaAUZUw9cukchsrdodnLLRpQVPUEO6uA44efp7NGy", "pässwörd", "bcrypt of cost 10"},
	{"$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", "correct horse", "bcrypt of cost 10"},
	{"$2a$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu", "correct horse", "bcrypt of cost 10"},
	{"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc", "correct horse", "argon2id of m=19456,t=2,p=1"},
	{"$argon2id$v=19$m=65536,t=1,p=4$c29tZXNhbHRzb21lc2FsdA$ED2Pblt/BuB2hBJqqFKNr9qhxJCAVbLz", "pässwörd", "argon2id of m=65536,t=1,p=4"},
}

func TestForeignHashes(t *testing.T) {
	for _, tt := range foreign {
		h, err := passhash.Parse(tt.hash)
		if err != nil {
			t.Errorf("%s: %v", tt.hash, err)
			continue
		}
		if !h.Matches(tt.password) {
			t.Errorf("%s does not match %q", tt.hash, tt.password)
		}
		if got := h.Work().String(); got != tt.work {
			t.Errorf("%s is work %q, want %q", tt.hash, got, tt.work)
		}
		if wrong := tt.password + " "; h.Matches(wrong) {
			t.Errorf("%s matches %q", tt.hash, wrong)
		}
	}
}

// Another sum, the empty password, and one in another case match nothing. One
// hash of each kind is enough: each comparison takes as long as it should.
func TestNoMatch(t *testing.T) {
	for _, tt := range []struct{ hash, password string }{
		{strings.Replace(foreign[0].hash, "HtZ7q", "HtZ6q", 1), foreign[0].password},
		{strings.Replace(foreign[4].hash, "$oVL", "$oVM", 1), foreign[4].password},
		{foreign[0].hash, ""},
		{foreign[4].hash, ""},
		{foreign[0].hash, "Correct horse"},
		{foreign[4].hash, "Correct horse"},
	} {
		if h, err := passhash.Parse(tt.hash); err != nil || h.Matches(tt.password) {
			t.Errorf("%s matches %q (%v)", tt.hash, tt.password, err)
		}
	}
}

func TestRefused(t *testing.T) {
	const salt, sum = "c29tZXNhbHQxMjM0NTY3OA", "oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc"
	argon := func(params string) string { return "$argon2id$v=19$" + params + "$" + salt + "$" + sum }
	bcryptTail := strings.Repeat("a", 53)
	for _, tt := range []struct{ hash, why string }{
		{"", "plain text"},
		{"x", "plain text"},
		{"correct horse", "plain text"},
		{"65Ilb9b6zwTlo", "crypt"},
		{"$apr1$lHVb4IYE$O66bvpwJUU4aql2J6t3TS0", "Apache's MD5"},
		{"$1$lHVb4IYE$O66bvpwJUU4aql2J6t3TS0", "MD5 crypt"},
		{"{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "unsalted SHA-1"},
		{"{SSHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "SHA-1"},
		{"$5$OpyfqKH2GH7H2VcO$LyxqEoD/i3a4KzuF0C6C5mYREq3xfFvJ.x/YAfWDey4", "SHA-256 crypt"},
		{"$6$zxA8MDMoCPlt/RVq$l9usyhBFINjJaTEyycFl", "SHA-512 crypt"},
		{"$y$j9T$abc$def", "yescrypt"},
		{"$pbkdf2-sha256$1$a$b", "PBKDF2"},
		{"$2$10$" + bcryptTail, "a faulty variant of bcrypt"},
		{"$2x$10$" + bcryptTail, "a faulty variant of bcrypt"},
		{"$2y$10$" + bcryptTail[1:], "cut"},
		{"$2y$10$" + bcryptTail + "a", "cut"},
		{"$2y$1a$" + bcryptTail, "cut"},
		{"$2y$+9$" + bcryptTail, "cut"},
		{"$2y$10$" + bcryptTail[1:] + "=", "a character"},
		{"$2y$10$" + bcryptTail[1:] + "\x00", "a character"},
		{"$2y$10$" + bcryptTail[1:] + "@", "a character"},
		{"$2y$10$" + bcryptTail[1:] + "{", "a character"},
		{"$2y$05$" + bcryptTail, "cost 5, and only 10 to 14"},
		{"$2y$09$" + bcryptTail, "cost 9"},
		{"$2y$15$" + bcryptTail, "cost 15"},
		{"$2y$31$" + bcryptTail, "cost 31"},
		{"$argon2i$v=19$m=65536,t=3,p=4$" + salt + "$" + sum, "another argon2"},
		{"$argon2d$v=19$m=65536,t=3,p=4$" + salt + "$" + sum, "another argon2"},
		{"$argon2id$m=65536,t=3,p=4$" + salt + "$" + sum, "cut"},
		{"$argon2id$v=16$m=65536,t=3,p=4$" + salt + "$" + sum, "another version"},
		{argon("m=65536,t=3"), "m, t and p alone"},
		{argon("m=65536,t=3,p=4,data=x"), "m, t and p alone"},
		{argon("t=3,m=65536,p=4"), "in this order"},
		{argon("m=065536,t=3,p=4"), "in this order"},
		{argon("m=+65536,t=3,p=4"), "in this order"},
		{argon("m=65536,t=3,p=-1"), "in this order"},
		{argon("m=4294967296,t=3,p=1"), "in this order"},
		{argon("m=65536,t=0,p=1"), "too cheap"},
		{argon("m=8,t=4000000000,p=1"), "too cheap"},
		{argon("m=7167,t=100,p=1"), "too cheap"},
		{argon("m=7168,t=4,p=1"), "too cheap"},
		{argon("m=262145,t=1,p=1"), "hold up the server"},
		{argon("m=4294967295,t=1,p=1"), "hold up the server"},
		{argon("m=65536,t=17,p=1"), "hold up the server"},
		{argon("m=65536,t=4294967295,p=1"), "hold up the server"},
		{argon("m=65536,t=3,p=0"), "p=0"},
		{argon("m=65536,t=3,p=17"), "p=17"},
		{"$argon2id$v=19$m=65536,t=3,p=4$c29tZXM$" + sum, "a salt that has 5 bytes"},
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "==$" + sum, "a salt that is no base64"},
		{"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQxMjM0NTY3OB$" + sum, "a salt that is no base64"},
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$c29tZXM", "a sum that has 5 bytes"},
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + strings.Repeat(sum, 3), "a sum that"},
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "\n$" + sum, "a salt that is no base64"},
		{"$argon2id$v=19$m=65536,t=3,p=4$" + salt + "$" + sum + "$", "cut"},
	} {
		h, err := passhash.Parse(tt.hash)
		if err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%q: %v, %v, want an error with %q", tt.hash, h, err, tt.why)
		}
		if err != nil && len(tt.hash) > 8 && strings.Contains(err.Error(), tt.hash[8:]) {
			t.Errorf("%q: the error repeats it: %v", tt.hash, err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, algorithm := range []string{passhash.Argon2id, passhash.Bcrypt} {
		text, err := passhash.New(algorithm, "correct horse")
		if err != nil {
			t.Fatal(err)
		}
		again, err := passhash.New(algorithm, "correct horse")
		if err != nil || again == text {
			t.Errorf("%s: two hashes of one password are alike (%v)", algorithm, err)
		}
		h, err := passhash.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !h.Matches("correct horse") || h.Matches("correct horses") {
			t.Errorf("%s does not tell the password", text)
		}
		decoy := h.Work().Decoy()
		if decoy.Work() != h.Work() || decoy.Matches("correct horse") {
			t.Errorf("the decoy of %v is none", h.Work())
		}
	}
	for _, algorithm := range []string{"", "md5", "Bcrypt", "argon2i"} {
		if text, err := passhash.New(algorithm, "correct horse"); err == nil {
			t.Errorf("%q gives %q", algorithm, text)
		}
	}
}

// Bcrypt looks at 72 bytes. Two passwords that are alike so far are not alike.
func TestLongPasswords(t *testing.T) {
	long := strings.Repeat("a", passhash.MaxBcrypt)
	if text, err := passhash.New(passhash.Bcrypt, long+"b"); err == nil {
		t.Errorf("a password that bcrypt cuts gives %s", text)
	}
	text, err := passhash.New(passhash.Bcrypt, long)
	if err != nil {
		t.Fatal(err)
	}
	h, err := passhash.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches(long) || h.Matches(long+"b") {
		t.Error("bcrypt tells passwords of 72 and 73 bytes wrongly")
	}
	argon, err := passhash.New(passhash.Argon2id, long+"b")
	if err != nil {
		t.Fatal(err)
	}
	if h, err := passhash.Parse(argon); err != nil || !h.Matches(long+"b") || h.Matches(long) || h.Matches(long+"c") {
		t.Errorf("argon2id tells long passwords wrongly (%v)", err)
	}
}

// What is taken is within the bounds, so that comparing ends.
func FuzzParse(f *testing.F) {
	for _, tt := range foreign {
		f.Add(tt.hash)
	}
	for _, s := range []string{"", "$", "$2y$10$", "$argon2id$v=19$m=1,t=1,p=1$$", "{SHA}", "$argon2id$$$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := passhash.Parse(text)
		if err != nil {
			return
		}
		w := h.Work()
		switch w.Algorithm {
		case passhash.Bcrypt:
			if w.Cost < 10 || w.Cost > 14 {
				t.Errorf("%q costs %v", text, w)
			}
		case passhash.Argon2id:
			if w.Memory > 256<<10 || uint64(w.Memory)*uint64(w.Passes) > 1<<20 || w.Passes < 1 || w.Threads < 1 || w.Threads > 16 {
				t.Errorf("%q costs %v", text, w)
			}
		default:
			t.Errorf("%q is of algorithm %q", text, w.Algorithm)
		}
		if w.Decoy().Work() != w {
			t.Errorf("the decoy of %v takes %v", w, w.Decoy().Work())
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	for _, tt := range foreign {
		h, err := passhash.Parse(tt.hash)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(tt.work, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !h.Matches(tt.password) {
					b.Fatal("no match")
				}
			}
		})
	}
}
