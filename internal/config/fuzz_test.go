package config_test

import (
	"bytes"
	"os"
	"testing"

	"gatehouse.dev/gatehouse/internal/config"
)

// Whatever is accepted can be listed and read back as the same, and whatever is
// refused is refused with problems that tell a place and a mend.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"*.good.yaml", "*.bad.yaml"} {
		for _, path := range files(f, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Decode("fuzzed.yaml", data)
		if err != nil {
			found := config.Problems(err)
			if len(found) == 0 {
				t.Fatalf("refused without a problem: %v", err)
			}
			for _, p := range found {
				if p.Where == "" || p.What == "" || p.Mend == "" {
					t.Errorf("problem is not complete: %+v", p)
				}
			}
			return
		}
		c.Validate() // must not panic; it reads no more than the names of files
		var listed bytes.Buffer
		if err := c.WriteYAML(&listed); err != nil {
			t.Fatal(err)
		}
		again, err := config.Decode("listed.yaml", listed.Bytes())
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, listed.Bytes())
		}
		var relisted bytes.Buffer
		if err := again.WriteYAML(&relisted); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(listed.Bytes(), relisted.Bytes()) {
			t.Errorf("listed as\n%s\nand again as\n%s", listed.Bytes(), relisted.Bytes())
		}
	})
}

func FuzzNamedCertificate(f *testing.F) {
	for _, s := range []string{"", ",", "a,b", "a,b:", "a,b:c", " a , b : c , d ", "a,b,c", "a,b:c:d", "a,b:,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := config.ParseNamedCertificate(s)
		if err != nil {
			return
		}
		if c.CertFile == "" || c.KeyFile == "" {
			t.Errorf("%q is accepted without a file: %+v", s, c)
		}
		again, err := config.ParseNamedCertificate(c.String())
		if err != nil || again.String() != c.String() {
			t.Errorf("%q is %+v, and that %+v, %v", s, c, again, err)
		}
	})
}
