package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatehouse.dev/gatehouse/test/env"
	"gatehouse.dev/gatehouse/test/tools"
)

// TestCode holds the code in pages to the file that it is from, which is
// compiled and tested where it is.
func TestCode(t *testing.T) {
	root := tools.Root(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```\\w+\n(.*?)```\n")
	found := 0
	for _, page := range pages {
		text := env.Read(t, page)
		blocks := shown.FindAllStringSubmatch(text, -1)
		if strings.Count(text, "<!-- from ") != len(blocks) {
			t.Errorf("%s names a file without a block of code", filepath.Base(page))
		}
		for _, b := range blocks {
			found++
			if !strings.Contains(env.Read(t, filepath.Join(root, b[1])), b[2]) {
				t.Errorf("%s shows code that is not in %s:\n%s", filepath.Base(page), b[1], b[2])
			}
		}
	}
	if found == 0 {
		t.Error("found no code in any page, so none was compared")
	}
}
