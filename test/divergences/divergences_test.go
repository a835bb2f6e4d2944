package divergences

import "testing"

func TestTells(t *testing.T) {
	p := parse("# Title\n\n| what | kube-apiserver | why |\n|---|---|---|\n" +
		"| an empty user name; a null | accepted | refused |\n| an empty token | passed over | refused |\n\ntext of an empty page\n")
	for words, want := range map[string]bool{
		"an empty user name": true, "name; a null": true, "an empty token": true,
		"an empty": false, "null": false, "": false, "passed over": false, "what": false, "an empty page": false, "kube-apiserver": false,
	} {
		if p.Tells(words) != want {
			t.Errorf("Tells(%q) = %v", words, !want)
		}
	}
	if p := Read(t, "../../docs/kubernetes-divergences.md"); !p.Tells("a static token") {
		t.Error("the page does not tell of static tokens")
	}
}
