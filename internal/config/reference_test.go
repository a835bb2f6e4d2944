package config_test

import (
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/internal/config"
)

func TestReferenceIsComplete(t *testing.T) {
	for _, section := range config.Reference() {
		if section.Text == "" && section.Name != "" {
			t.Errorf("section %s has no text", section.Name)
		}
		if len(section.Settings) == 0 {
			t.Errorf("section %s has no settings", section.Name)
		}
		for _, s := range section.Settings {
			if s.Text == "" || !strings.HasSuffix(s.Text, ".") {
				t.Errorf("%s has the text %q", s.Path, s.Text)
			}
			if s.Flag == "" && section.Name != "" && s.Type != "list of clients" && s.Type != "list of signers" {
				t.Errorf("%s has no flag", s.Path)
			}
		}
	}
}

// The comment of a field ends with its default. Nothing else may be the default.
func TestCommentsTellDefaults(t *testing.T) {
	told := config.CommentedDefaults()
	for _, section := range config.Reference() {
		for _, s := range section.Settings {
			if got := told[s.Path]; got != s.Default {
				t.Errorf("the comment of %s gives the default %q, which is %q", s.Path, got, s.Default)
			}
		}
	}
}
