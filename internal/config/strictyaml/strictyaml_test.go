package strictyaml_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

type shop struct {
	Kind  string     `json:"kind"`
	Open  bool       `json:"open"`
	Addr  netip.Addr `json:"addr"`
	Shelf shelf      `json:"shelf"`
	Staff []person   `json:"staff"`
	Tags  []string   `json:"tags"`
	notes string     //lint:ignore U1000 it must not be found
}

type shelf struct {
	Metres float64 `json:"metres"`
	Levels int8    `json:"levels"`
}

type person struct {
	Name string `json:"name,omitempty"`
}

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		name, document, want string // what is wrong, or what is read
	}{
		{"nothing said", "{}", "{shop true ::1 {0 3} [] [] }"},
		{"nothing after the names", "open:\nshelf:\nstaff:\ntags: ~\n", "{shop true ::1 {0 3} [] [] }"},
		{"all", "open: false\naddr: 10.0.0.1\nshelf: {metres: 2, levels: -1}\nstaff: [{name: a}, {name: b}]\ntags: [c, \"1\"]\n", "{shop false 10.0.0.1 {2 -1} [{a} {b}] [c 1] }"},
		{"empty lists", "staff: []\ntags: []\n", "{shop true ::1 {0 3} [] [] }"},
		{"unused anchor", "tags: [&a c]", "{shop true ::1 {0 3} [] [c] }"},
		{"literal", "tags:\n- |\n  # c\n  d\n", "{shop true ::1 {0 3} [] [# c\nd\n] }"},

		{"unexported", "notes: x", "2 notes: there is no such field; did you mean store.notes?"},
		{"omitempty is not part of the name", "staff: [{\"name,omitempty\": a}]", "2 staff[0].name,omitempty: there is no such field; remove it; the fields here are name"},
		{"int8 overflow", "shelf: {levels: 128}", `2 shelf.levels: "128" cannot be read, or is too big; write a whole number`},
		{"int from float", "shelf: {levels: 1.0}", "2 shelf.levels: is a number; write a whole number"},
		{"int from text", "shelf: {levels: one}", "2 shelf.levels: is a string; write a whole number"},
		{"float from text", "shelf: {metres: two}", "2 shelf.metres: is a string; write a number"},
		{"own tag", "tags: [!mine c]", "2 tags[0]: is of an unknown type; put it in quotes"},
		{"binary", "tags: [!!binary aGk=]", "2 tags[0]: is of an unknown type; put it in quotes"},
		{"string from date", "tags: [2026-11-24]", "2 tags[0]: is a date; put it in quotes"},
		{"address from number", "addr: 10", "2 addr: is a number; write it like ::1"},
		{"bad address", "addr: 10.0.0.256", `2 addr: "10.0.0.256" cannot be read, or is too big; write it like ::1`},
		{"list in list", "tags: [[c]]", "2 tags[0]: is a list; write a single value"},
		{"alias", "tags: [&a c, *a]", "2 tags[1]: is an alias; write the value itself"},
		{"alias as key", "open: &a true\n*a : true", "3 : has a key that is not the name of a field; write each field out"},
		{"merge", "shelf: &a {levels: 1}\n<<: *a", "3 : has a key that is not the name of a field; write each field out"},
		{"bomb", "tags: &a [x]\nstaff: [*a, *a]", "3 staff[0]: is an alias; write the value itself\n3 staff[1]: is an alias; write the value itself"},
		{"repeated", "open: true\n\"open\": false", "3 open: is given twice; keep one of them"},
		{"second document", "open: true\n---\n", "3 : begins a second document; keep one document in a file"},
		{"broken second document", "open: true\n---\n[", "0 : is not YAML: line 4: did not find expected node content; correct it"},
		{"not YAML", "open: [", "0 : is not YAML: line 2: did not find expected node content; correct it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			format := strictyaml.Format{
				Head:    [][2]string{{"kind", "shop"}},
				Suggest: func(name string) string { return map[string]string{"notes": "did you mean store.notes?"}[name] },
			}
			document := "kind: shop\n" + test.document
			if test.document == "{}" {
				document = "kind: shop\n"
			}
			s := shop{Open: true, Addr: netip.IPv6Loopback(), Shelf: shelf{Levels: 3}}
			_, problems := format.Decode([]byte(document), &s)
			got := tell(problems)
			if got == "" {
				got = fmt.Sprint(s)
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func tell(problems []strictyaml.Problem) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%d %s: %s; %s", p.Line, p.Path, p.What, p.Mend))
	}
	return strings.Join(lines, "\n")
}

func TestLines(t *testing.T) {
	var s shop
	lines, problems := strictyaml.Format{}.Decode([]byte("open: true\nshelf:\n  levels: 1\ntags:\n- a\n- b\n"), &s)
	want := map[string]int{"open": 1, "shelf.levels": 3, "tags": 5, "tags[0]": 5, "tags[1]": 6}
	if len(problems) > 0 || !reflect.DeepEqual(lines, want) {
		t.Errorf("got %v, %v; want %v", lines, problems, want)
	}
}

func TestEncode(t *testing.T) {
	s := shop{Kind: "shop", Addr: netip.IPv6Loopback(), Shelf: shelf{Levels: 3}, Staff: []person{{"no"}}, Tags: []string{"1", "# a\n# b", "yes"}}
	comments := map[string]string{"kind": "one\ntwo", "open": "is it?", "shelf": "group", "shelf.levels": "how many"}
	got, err := strictyaml.Encode(&s, func(path string, _ reflect.Type) string { return comments[path] })
	if err != nil {
		t.Fatal(err)
	}
	const want = `# one
# two
kind: shop

# is it?
open: false
addr: ::1

# group
shelf:
  metres: 0

  # how many
  levels: 3
staff:
  - name: "no"
tags:
  - "1"
  - "# a\n# b"
  - "yes"
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"securePort", "port", "lookup", "tlsCertFile"}
	for name, want := range map[string]string{
		"SecurePort": "securePort", "securPrt": "securePort", "prt": "port", "lokup": "lookup",
		"x": "", "": "", "loop": "", "tlsKeyFile": "tlsCertFile", "securePortNumber": "",
	} {
		if got := strictyaml.Nearest(name, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
