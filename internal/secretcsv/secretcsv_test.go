package secretcsv_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/secretcsv"
)

func read(text string) (records []secretcsv.Record, warnings []string, err error) {
	err = secretcsv.Read([]byte(text), "token",
		func(r secretcsv.Record) error {
			// The reader uses the memory again.
			r.Secret, r.Name, r.UID, r.Groups = strings.Clone(r.Secret), strings.Clone(r.Name), strings.Clone(r.UID), strings.Clone(r.Groups)
			records = append(records, r)
			return nil
		},
		func(text string) { warnings = append(warnings, text) })
	return records, warnings, err
}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		text     string
		records  []secretcsv.Record
		warnings []string
		err      string
	}{
		{text: ""},
		{text: "\n\ns3cret,jane,1\n", records: []secretcsv.Record{{Number: 1, Secret: "s3cret", Name: "jane", UID: "1"}}},
		{text: "s3cret,jane,,\"a,b\",more\n", records: []secretcsv.Record{{Number: 1, Secret: "s3cret", Name: "jane", Groups: "a,b", Grouped: true}}},
		{text: "s3cret,jane,1,\n", records: []secretcsv.Record{{Number: 1, Secret: "s3cret", Name: "jane", UID: "1", Grouped: true}}},
		{
			text:     ",x,1\ns3cret,jane,1\n",
			records:  []secretcsv.Record{{Number: 2, Secret: "s3cret", Name: "jane", UID: "1"}},
			warnings: []string{"record 1: empty token, record ignored"},
		},
		{text: "s3cret,jane\n", err: "record 1: need at least 3 columns (token, user name, user uid), found 2"},
		{text: "s3cret,,1\n", err: "record 1: empty user name: write whose token it is"},
		{text: "s3cret,jane,\"1\n", err: `line 1, column 16: extraneous or missing " in quoted-field`},
		{text: "s3\"cret,jane,1\n", err: `line 1, column 3: bare " in non-quoted-field`},
	} {
		records, warnings, err := read(test.text)
		if test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("%q: error %v, want %s", test.text, err, test.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(records, test.records) || !reflect.DeepEqual(warnings, test.warnings) {
			t.Errorf("%q: %+v, warnings %q, error %v", test.text, records, warnings, err)
		}
	}
	stop := errors.New("enough")
	if err := secretcsv.Read([]byte("a,b,c\nd\n"), "token", func(secretcsv.Record) error { return stop }, nil); err != stop {
		t.Errorf("an error of whoever takes a record does not end the reading: %v", err)
	}
}

// Whatever is in a file, nothing of it is told.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"t,u,1\n", "t,u,1,\"a,b\"\n", ",,,\n", "\"", "t,,1\n", "t,u\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const secret = "hunter2hunter2"
		_, warnings, err := read(secret + "," + text)
		if err != nil {
			warnings = append(warnings, err.Error())
		}
		for _, told := range warnings {
			if strings.Contains(told, secret) {
				t.Errorf("%q", told)
			}
		}
	})
}
